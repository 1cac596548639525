//! Which files a model has, where they are, and what they must be.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use operone_core::error::Result;
use serde::Deserialize;

use crate::cli::wrong;

/// all-MiniLM-L6-v2, under the Apache-2.0 licence, at a revision that does not change.
const ALL_MINILM: &str = "all-minilm-l6-v2";
const ALL_MINILM_URL: &str = "https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2/resolve/c9745ed1d9f207416be6d2e6f8de32d1f16199bf/";
const ALL_MINILM_FILES: [(&str, &str); 7] = [
    ("1_Pooling/config.json", "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23"),
    ("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
    ("config_sentence_transformers.json", "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3"),
    ("modules.json", "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf"),
    ("sentence_bert_config.json", "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7"),
    ("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
    ("model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
];

/// The files of a model.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    /// The URL of the folder, with a slash at its end.
    pub(super) from: String,
    pub(super) files: Vec<File>,
}

/// A file and its SHA-256 in small hexadecimal digits.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) sha256: String,
}

impl Manifest {
    /// Brings what is known of the name and what was given together; what was given goes before.
    pub(super) fn find(
        name: &str,
        from: Option<&str>,
        hashes: &[String],
        file: Option<&Path>,
    ) -> Result<Self> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            from: Option<String>,
            files: BTreeMap<String, String>,
        }

        let mut known_url = None;
        let files = if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|error| wrong(format!("{} cannot be read", path.display())).with_source(error))?;
            let written: Written = serde_json::from_str(&text)
                .map_err(|error| wrong(format!("{} is no manifest", path.display())).with_source(error))?;
            known_url = written.from;
            written.files.iter().map(|(name, hash)| File::new(name, hash)).collect::<Result<Vec<_>>>()?
        } else if !hashes.is_empty() {
            let pair = |given: &String| {
                let (name, hash) = given
                    .rsplit_once('=')
                    .ok_or_else(|| wrong(format!("--sha256 {given} is not of the form FILE=HASH")))?;
                File::new(name, hash)
            };
            hashes.iter().map(pair).collect::<Result<_>>()?
        } else if name == ALL_MINILM {
            known_url = Some(ALL_MINILM_URL.to_owned());
            ALL_MINILM_FILES.iter().map(|(name, hash)| File::new(name, hash)).collect::<Result<_>>()?
        } else {
            return Err(wrong(format!(
                "'{name}' is not known, only {ALL_MINILM} is: say where a model of your own is with --from and what \
                 its files must be with --sha256 or --manifest"
            )));
        };
        if files.is_empty() {
            return Err(wrong("the manifest names no file"));
        }
        let mut from = from.map(str::to_owned).or(known_url).ok_or_else(|| {
            wrong("where the files are is not said: give the URL of their folder with --from")
        })?;
        if !from.ends_with('/') {
            from.push('/');
        }
        Ok(Self { from, files })
    }
}

impl File {
    fn new(name: &str, sha256: &str) -> Result<Self> {
        let parts = Path::new(name).components();
        let plain = !name.is_empty()
            && !name.ends_with('/')
            && !name.contains(['\\', '?', '#', '%'])
            && parts.clone().all(|part| matches!(part, Component::Normal(_)));
        if !plain {
            return Err(wrong(format!("'{name}' is no name of a file within the model's folder")));
        }
        if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong(format!("'{sha256}' is no SHA-256 of {name}: it has 64 hexadecimal digits")));
        }
        Ok(Self { name: name.to_owned(), sha256: sha256.to_ascii_lowercase() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "BE50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037";

    fn find(name: &str, from: Option<&str>, hashes: &[&str]) -> Result<Manifest> {
        let hashes: Vec<String> = hashes.iter().map(|hash| (*hash).to_owned()).collect();
        Manifest::find(name, from, &hashes, None)
    }

    #[test]
    fn a_known_name_needs_nothing_else_and_may_come_from_a_mirror() {
        let known = find(ALL_MINILM, None, &[]).unwrap();
        assert!(known.from.starts_with("https://") && known.from.ends_with('/'));
        assert_eq!(known.files.len(), ALL_MINILM_FILES.len());
        let mirrored = find(ALL_MINILM, Some("https://mirror.example/minilm"), &[]).unwrap();
        assert_eq!(mirrored.from, "https://mirror.example/minilm/");
        assert_eq!(mirrored.files, known.files);
    }

    #[test]
    fn a_model_of_ones_own_needs_a_place_and_hashes() {
        let own = find("own", Some("http://x/"), &[&format!("a/b=c.json={HASH}")]).unwrap();
        assert_eq!(own.files[0].name, "a/b=c.json");
        assert_eq!(own.files[0].sha256, HASH.to_lowercase());
        for (from, hashes) in [
            (Some("http://x"), vec![]),
            (None, vec![format!("a={HASH}")]),
            (Some("http://x"), vec!["a".to_owned()]),
            (Some("http://x"), vec!["a=abc".to_owned()]),
        ] {
            let hashes: Vec<&str> = hashes.iter().map(String::as_str).collect();
            assert_eq!(find("own", from, &hashes).unwrap_err().code(), "invalid_arguments");
        }
    }

    #[test]
    fn a_file_stays_within_the_models_folder() {
        for name in ["../x", "/etc/passwd", "a/../b", "", ".", "a/", "a?b", "a%2fb", "a\\b"] {
            assert!(find("own", Some("http://x"), &[&format!("{name}={HASH}")]).is_err(), "{name}");
        }
    }
}
