//! The zoo's llama over the weights of a checkpoint.
//!
//! In: a [`ModelFile`] and a device. Out: [`Llama`], a [`LanguageModel`].
//! Invariant: weights stay where the file has them, a tensor being a range of the mapped file with the zoo's shape, or are moved once to the
//! memory that a device has of its own; the cache lies there too.

use std::{sync::Arc, time::Instant};

use sawmill::{
    CacheType, Call, Device, Error, PackedType, Record, RuntimeElem, Source, Tensor, Typed, Value, ir::dtype::DType,
};
use sawmill_zoo::{formats, llama};

use super::failure;
use crate::{
    error::Failure,
    generate::language_model::{Compiled, LanguageModel},
    model::{
        ModelFile,
        config::{LlamaConfig, RopeStyle},
        tensor::{Encoding, WeightTensor},
    },
};

/// A running model: weights, the cache of the positions so far, and what was compiled.
pub struct Llama {
    device: Device,
    weights: llama::Model,
    cache: Vec<llama::Kv>,
    config: LlamaConfig,
    capacity: usize,
    compiled: Compiled,
}

impl Llama {
    /// The model of `file` on `device`, compiled, with room for `capacity` positions.
    ///
    /// # Errors
    /// A user error if the zoo's model does not take the checkpoint (a mix of encodings), else what the engine reports.
    pub fn new(file: &ModelFile, device: &Device, capacity: usize) -> Result<Self, Failure> {
        let config = file.config.clone();
        let weights = llama::Model::build("", &mut Checkpoint(file)).and_then(|weights| weights.to(device));
        let weights = weights.map_err(failure)?;
        let sizes = [config.n_kv_heads as usize, config.head_dim as usize];
        let cache = (0..config.n_layers).map(|_| llama::Kv::with_capacity(&sizes, capacity)?.to(device));
        let cache = cache.collect::<Result<_, Error>>().map_err(failure)?;
        let device = device.clone();
        let mut model = Self { device, weights, cache, config, capacity, compiled: Compiled::default() };
        model.compile()?;
        Ok(model)
    }

    /// Compiles now rather than at the first token, so that the two can be told apart.
    fn compile(&mut self) -> Result<(), Failure> {
        let start = Instant::now();
        let token = Typed::<i32, 1>::from_slice(&[0], [1]).map_err(failure)?.into_dyn();
        let compiled = self.call(&token).compile().map_err(failure)?;
        self.compiled = Compiled { time: start.elapsed(), kernels: compiled.kernels() };
        Ok(())
    }

    fn call<'a>(&'a mut self, tokens: &'a Tensor) -> Call<'a> {
        let mut call = Call::on(llama::model::DEF, &self.device);
        call.value("tokens", Value::Tensor(tokens.view()));
        call.record("w", &self.weights);
        call.caches("kv", &mut self.cache);
        call.value("theta", Value::Float(self.config.rope_theta));
        call.value("eps", Value::Float(self.config.rms_eps));
        // How many channels apart a rotary pair's members are stored.
        call.dim(
            "P",
            match self.config.rope_style {
                RopeStyle::HalfSplit => 1,
                RopeStyle::Interleaved => 2,
            },
        );
        call
    }

    /// Gives a step to the device and does not wait for its logits, which are lost.
    ///
    /// # Errors
    /// What the engine reports.
    pub fn give(&mut self, id: u32) -> Result<(), Failure> {
        self.run(&[id]).map(drop)
    }

    fn logits(&mut self, ids: &[u32]) -> Result<Vec<f32>, Failure> {
        self.run(ids)?.to_vec().map_err(failure)
    }

    fn run(&mut self, ids: &[u32]) -> Result<Tensor, Failure> {
        let ids = ids.iter().map(|&id| i32::try_from(id)).collect::<Result<Vec<_>, _>>();
        let ids = ids.map_err(|_| Failure::defect("a token id exceeds 31 bits"))?;
        let tokens = Typed::<i32, 1>::from_slice(&ids, [ids.len()]).map_err(failure)?.into_dyn();
        let outputs = self.call(&tokens).run_named().map_err(failure)?;
        let (_, logits) = outputs.into_iter().next().ok_or_else(|| Failure::defect("the model has no output"))?;
        Ok(logits)
    }
}

impl LanguageModel for Llama {
    fn context(&self) -> usize {
        self.capacity.min(self.config.context as usize)
    }

    fn prefill(&mut self, ids: &[u32]) -> Result<Vec<f32>, Failure> {
        self.logits(ids)
    }

    fn step(&mut self, id: u32) -> Result<Vec<f32>, Failure> {
        self.logits(&[id])
    }

    fn compiled(&self) -> Compiled {
        self.compiled
    }
}

/// The checkpoint's tensors under the zoo's names.
struct Checkpoint<'f>(&'f ModelFile);

impl Source for Checkpoint<'_> {
    fn tensor(&mut self, path: &str) -> Result<Tensor, Error> {
        let (name, shape) = self.find(path).ok_or_else(|| Error::Tensor(format!("the checkpoint has no `{path}`")))?;
        let weight =
            self.0.tensors.get(&name).ok_or_else(|| Error::Tensor(format!("the checkpoint has no `{name}`")))?;
        tensor(weight, &shape).map_err(|error| Error::Tensor(format!("`{name}`: {error}")))
    }

    fn count(&mut self, path: &str) -> Result<usize, Error> {
        match path {
            "layers" => Ok(self.0.config.n_layers as usize),
            _ => Err(Error::Tensor(format!("the checkpoint has no list `{path}`"))),
        }
    }
}

impl Checkpoint<'_> {
    /// The checkpoint's name and the zoo's shape of the tensor at `path`.
    fn find(&self, path: &str) -> Option<(String, Vec<usize>)> {
        let config = &self.0.config;
        let (vocab, width, ffn) = (config.vocab as usize, config.d_model as usize, config.ffn as usize);
        let (heads, kv_heads, channels) =
            (config.n_heads as usize, config.n_kv_heads as usize, config.head_dim as usize);
        let outside = |name: &str, shape: &[usize]| Some((name.to_owned(), shape.to_vec()));
        match path {
            "embed" => return outside("model.embed_tokens.weight", &[vocab, width]),
            "head" if config.tied => return outside("model.embed_tokens.weight", &[vocab, width]),
            "head" => return outside("lm_head.weight", &[vocab, width]),
            "norm" => return outside("model.norm.weight", &[width]),
            _ => {}
        }
        let (layer, field) = path.strip_prefix("layers.")?.split_once('.')?;
        let (name, shape) = match field {
            "attn_norm" => ("input_layernorm", vec![width]),
            "q" => ("self_attn.q_proj", vec![heads, channels, width]),
            "k" => ("self_attn.k_proj", vec![kv_heads, channels, width]),
            "v" => ("self_attn.v_proj", vec![kv_heads, channels, width]),
            "o" => ("self_attn.o_proj", vec![width, heads, channels]),
            "ffn_norm" => ("post_attention_layernorm", vec![width]),
            "gate" => ("mlp.gate_proj", vec![ffn, width]),
            "up" => ("mlp.up_proj", vec![ffn, width]),
            "down" => ("mlp.down_proj", vec![width, ffn]),
            _ => return None,
        };
        Some((format!("model.layers.{layer}.{name}.weight"), shape))
    }
}

fn tensor(weight: &WeightTensor, shape: &[usize]) -> Result<Tensor, Error> {
    Tensor::from_shared(Arc::new(weight.file().clone()), weight.range().start, element(weight.encoding())?, shape)
}

fn element(encoding: Encoding) -> Result<RuntimeElem, Error> {
    let packed = |format| PackedType::new(format).map(RuntimeElem::Packed);
    match encoding {
        Encoding::F32 => Ok(RuntimeElem::Type(DType::F32)),
        Encoding::F16 => Ok(RuntimeElem::Type(DType::F16)),
        Encoding::Bf16 => Ok(RuntimeElem::Type(DType::BF16)),
        Encoding::Q4Zero => packed(&formats::q4_0),
        Encoding::Q4One => packed(&formats::q4_1),
        Encoding::Q8Zero => packed(&formats::q8_0),
    }
}
