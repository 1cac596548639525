//! The network of the BERT family: token ids in, one vector per token out.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use operone_core::error::{Error, Result};

use super::kernels::{Norm, activate, add_and_norm, add_bias, attend, norm};
use super::settings::Shape;
use super::unsuitable;

/// Tensors of a model, by name.
type Tensors = HashMap<String, Tensor>;

/// A model's weights.
#[derive(Debug)]
pub(super) struct Network {
    shape: Shape,
    words: Vec<f32>,
    places: Vec<f32>,
    kind: Vec<f32>,
    norm: Norm,
    layers: Vec<Layer>,
}

#[derive(Debug)]
struct Layer {
    /// Queries, keys and values in one product.
    mixed: Linear,
    gathered: Linear,
    gathered_norm: Norm,
    wide: Linear,
    narrow: Linear,
    narrow_norm: Norm,
}

#[derive(Debug)]
struct Linear {
    /// Inputs by outputs.
    weight: Tensor,
    bias: Vec<f32>,
}

impl Network {
    /// Reads the weights whole.
    pub(super) fn read(file: &Path, shape: Shape) -> Result<Self> {
        let tensors = candle_core::safetensors::load(file, &Device::Cpu)
            .map_err(|error| unsuitable(file, "holds no tensors that can be read").with_source(error))?;
        let reader = Reader { prefix: prefix(&tensors), tensors: &tensors, file, shape: &shape };
        let layers = (0..shape.layers).map(|layer| reader.layer(layer)).collect::<Result<_>>()?;
        let width = shape.width;
        let words = reader.values("embeddings.word_embeddings.weight", shape.tokens * width)?;
        let places = reader.values("embeddings.position_embeddings.weight", shape.positions * width)?;
        let mut kind = reader.values("embeddings.token_type_embeddings.weight", shape.kinds * width)?;
        kind.truncate(width);
        let norm = reader.norm("embeddings.LayerNorm")?;
        Ok(Self { words, places, kind, norm, layers, shape })
    }

    /// The last layer's vectors of all tokens of all texts, one text after the other.
    ///
    /// The texts stand together without padding: products run over all tokens at once, attention within each text.
    /// A text has at most as many tokens as the model has positions, and each id is one of its vocabulary.
    pub(super) fn forward(&self, texts: &[&[u32]]) -> Result<Vec<f32>> {
        let mut hidden = self.embed(texts);
        for layer in &self.layers {
            let width = self.shape.width;
            let mut mixed = layer.mixed.product(&hidden)?;
            add_bias(&mut mixed, &layer.mixed.bias);
            let mut context = vec![0.0; hidden.len()];
            let (mut rows, mut gathered) = (mixed.as_slice(), context.as_mut_slice());
            for text in texts {
                let tokens = text.len() * width;
                let (Some((row, later)), Some((here, after))) =
                    (rows.split_at_checked(3 * tokens), gathered.split_at_mut_checked(tokens))
                else {
                    return Err(Error::internal("the texts do not fit what was computed of them"));
                };
                attend(row, here, width, self.shape.heads);
                (rows, gathered) = (later, after);
            }
            let added = layer.gathered.product(&context)?;
            add_and_norm(&mut hidden, &added, &layer.gathered.bias, &layer.gathered_norm);
            let mut wide = layer.wide.product(&hidden)?;
            activate(&mut wide, &layer.wide.bias, self.shape.activation);
            let added = layer.narrow.product(&wide)?;
            add_and_norm(&mut hidden, &added, &layer.narrow.bias, &layer.narrow_norm);
        }
        Ok(hidden)
    }

    fn embed(&self, texts: &[&[u32]]) -> Vec<f32> {
        let width = self.shape.width;
        let tokens: usize = texts.iter().map(|text| text.len()).sum();
        let mut hidden = Vec::with_capacity(tokens * width);
        for text in texts {
            for (id, place) in text.iter().zip(self.places.chunks_exact(width)) {
                let start = usize::try_from(*id).unwrap_or(usize::MAX).saturating_mul(width);
                let word = self.words.get(start..start.saturating_add(width)).unwrap_or(&self.kind);
                let parts = word.iter().zip(place).zip(&self.kind);
                hidden.extend(parts.map(|((word, place), kind)| word + place + kind));
            }
        }
        norm(&mut hidden, &self.norm);
        hidden
    }
}

impl Linear {
    /// The rows times the weight, without the bias.
    fn product(&self, rows: &[f32]) -> Result<Vec<f32>> {
        let multiply = || -> candle_core::Result<Vec<f32>> {
            let inputs = self.weight.dim(0)?;
            let rows = Tensor::from_slice(rows, (rows.len() / inputs.max(1), inputs), &Device::Cpu)?;
            rows.matmul(&self.weight)?.flatten_all()?.to_vec1()
        };
        multiply().map_err(|error| Error::internal("the network cannot be computed").with_source(error))
    }
}

/// Takes tensors by the names that BERT gives them.
struct Reader<'a> {
    tensors: &'a Tensors,
    prefix: &'static str,
    file: &'a Path,
    shape: &'a Shape,
}

impl Reader<'_> {
    fn layer(&self, layer: usize) -> Result<Layer> {
        let at = |part: &str| format!("encoder.layer.{layer}.{part}");
        let (width, wide) = (self.shape.width, self.shape.wide);
        let parts = ["query", "key", "value"].map(|part| at(&format!("attention.self.{part}")));
        let mut weights = Vec::new();
        let mut bias = Vec::new();
        for part in &parts {
            weights.push(self.weight(part, width, width)?);
            bias.extend(self.values(&format!("{part}.bias"), width)?);
        }
        let joined = Tensor::cat(&weights, 1).and_then(|weight| weight.contiguous());
        let weight = joined.map_err(|error| self.wrong(&at("attention.self")).with_source(error))?;
        Ok(Layer {
            mixed: Linear { weight, bias },
            gathered: self.linear(&at("attention.output.dense"), width, width)?,
            gathered_norm: self.norm(&at("attention.output.LayerNorm"))?,
            wide: self.linear(&at("intermediate.dense"), width, wide)?,
            narrow: self.linear(&at("output.dense"), wide, width)?,
            narrow_norm: self.norm(&at("output.LayerNorm"))?,
        })
    }

    fn linear(&self, name: &str, inputs: usize, outputs: usize) -> Result<Linear> {
        let weight = self.weight(name, inputs, outputs)?;
        Ok(Linear { weight, bias: self.values(&format!("{name}.bias"), outputs)? })
    }

    fn norm(&self, name: &str) -> Result<Norm> {
        let width = self.shape.width;
        Ok(Norm {
            scale: self.values(&format!("{name}.weight"), width)?,
            shift: self.values(&format!("{name}.bias"), width)?,
            epsilon: self.shape.epsilon,
        })
    }

    fn weight(&self, name: &str, inputs: usize, outputs: usize) -> Result<Tensor> {
        let name = format!("{name}.weight");
        let tensor = self.tensor(&name)?;
        if tensor.dims() != [outputs, inputs] {
            return Err(self.wrong(&name));
        }
        let turned = tensor.to_dtype(DType::F32).and_then(|tensor| tensor.t()?.contiguous());
        turned.map_err(|error| self.wrong(&name).with_source(error))
    }

    fn values(&self, name: &str, count: usize) -> Result<Vec<f32>> {
        let tensor = self.tensor(name)?.to_dtype(DType::F32).and_then(|tensor| tensor.flatten_all());
        let values = tensor.and_then(|tensor| tensor.to_vec1::<f32>());
        let values = values.map_err(|error| self.wrong(name).with_source(error))?;
        if values.len() == count { Ok(values) } else { Err(self.wrong(name)) }
    }

    fn tensor(&self, name: &str) -> Result<&Tensor> {
        let name = format!("{}{name}", self.prefix);
        self.tensors.get(&name).ok_or_else(|| unsuitable(self.file, format!("holds no tensor '{name}'")))
    }

    fn wrong(&self, name: &str) -> Error {
        unsuitable(self.file, format!("holds a tensor '{name}' that does not fit config.json"))
    }
}

/// What stands before the names of a model that was saved with a head.
fn prefix(tensors: &Tensors) -> &'static str {
    if tensors.contains_key("bert.embeddings.word_embeddings.weight") { "bert." } else { "" }
}
