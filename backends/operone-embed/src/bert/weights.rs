//! Reads a network's weights from a file of tensors.

use std::path::Path;

use half::{bf16, f16};
use operone_core::error::{Error, Result};
use safetensors::{Dtype, SafeTensors};

use super::kernels::Norm;
use super::network::{Layer, Linear, Network};
use super::panels::Panels;
use super::settings::Shape;
use super::unsuitable;

impl Network {
    /// Reads the weights whole.
    pub(super) fn read(file: &Path, shape: Shape) -> Result<Self> {
        let bytes =
            std::fs::read(file).map_err(|error| unsuitable(file, "cannot be read").with_source(error))?;
        let tensors = SafeTensors::deserialize(&bytes)
            .map_err(|error| unsuitable(file, "holds no tensors that can be read").with_source(error))?;
        let reader = Reader { prefix: prefix(&tensors), tensors: &tensors, file, shape: &shape };
        let layers = (0..shape.layers).map(|layer| reader.layer(layer)).collect::<Result<_>>()?;
        let width = shape.width;
        let words = reader.values("embeddings.word_embeddings.weight", &[shape.tokens, width])?;
        let places = reader.values("embeddings.position_embeddings.weight", &[shape.positions, width])?;
        let mut kind = reader.values("embeddings.token_type_embeddings.weight", &[shape.kinds, width])?;
        kind.truncate(width);
        let norm = reader.norm("embeddings.LayerNorm")?;
        Ok(Self { words, places, kind, norm, layers, shape })
    }
}

/// Takes tensors by the names that BERT gives them.
struct Reader<'a> {
    tensors: &'a SafeTensors<'a>,
    prefix: &'static str,
    file: &'a Path,
    shape: &'a Shape,
}

impl Reader<'_> {
    fn layer(&self, layer: usize) -> Result<Layer> {
        let at = |part: &str| format!("encoder.layer.{layer}.{part}");
        let (width, wide) = (self.shape.width, self.shape.wide);
        let parts = ["query", "key", "value"].map(|part| at(&format!("attention.self.{part}")));
        Ok(Layer {
            mixed: self.linear(&parts.each_ref().map(String::as_str), width, width)?,
            gathered: self.linear(&[&at("attention.output.dense")], width, width)?,
            gathered_norm: self.norm(&at("attention.output.LayerNorm"))?,
            wide: self.linear(&[&at("intermediate.dense")], width, wide)?,
            narrow: self.linear(&[&at("output.dense")], wide, width)?,
            narrow_norm: self.norm(&at("output.LayerNorm"))?,
        })
    }

    /// Some layers that read the same, as one.
    fn linear(&self, names: &[&str], inputs: usize, outputs: usize) -> Result<Linear> {
        let (mut weight, mut bias) = (Vec::new(), Vec::new());
        for name in names {
            weight.extend(self.values(&format!("{name}.weight"), &[outputs, inputs])?);
            bias.extend(self.values(&format!("{name}.bias"), &[outputs])?);
        }
        Ok(Linear { weight: Panels::of_columns(inputs, weight.chunks_exact(inputs.max(1))), bias })
    }

    fn norm(&self, name: &str) -> Result<Norm> {
        let width = self.shape.width;
        Ok(Norm {
            scale: self.values(&format!("{name}.weight"), &[width])?,
            shift: self.values(&format!("{name}.bias"), &[width])?,
            epsilon: self.shape.epsilon,
        })
    }

    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let name = format!("{}{name}", self.prefix);
        let tensor = self
            .tensors
            .tensor(&name)
            .map_err(|error| unsuitable(self.file, format!("holds no tensor '{name}'")).with_source(error))?;
        if tensor.shape() != shape {
            return Err(self.wrong(&name));
        }
        let bytes = tensor.data();
        match tensor.dtype() {
            Dtype::F32 => Ok(numbers(bytes, f32::from_le_bytes)),
            Dtype::F16 => Ok(numbers(bytes, |bytes| f16::from_le_bytes(bytes).to_f32())),
            Dtype::BF16 => Ok(numbers(bytes, |bytes| bf16::from_le_bytes(bytes).to_f32())),
            _ => Err(self.wrong(&name)),
        }
    }

    fn wrong(&self, name: &str) -> Error {
        unsuitable(self.file, format!("holds a tensor '{name}' that does not fit config.json"))
    }
}

fn numbers<const BYTES: usize>(bytes: &[u8], number: impl Fn([u8; BYTES]) -> f32) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| number(*bytes)).collect()
}

/// What stands before the names of a model that was saved with a head.
fn prefix(tensors: &SafeTensors<'_>) -> &'static str {
    if tensors.tensor("bert.embeddings.word_embeddings.weight").is_ok() { "bert." } else { "" }
}
