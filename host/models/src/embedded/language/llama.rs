//! The network itself: a Llama of few parameters, its weights four bits each. A single token goes through the weights as they
//! are, which moves the least memory; many at once (a prompt) go through weights that are unpacked for the moment, because then
//! the multiplication is what takes the time, and there is a faster one for plain numbers.

use std::sync::Arc;

use candle_core::quantized::gguf_file::Content;
use candle_core::quantized::{QMatMul, QTensor};
use candle_core::{DType, Device, IndexOp as _, Module as _, Result, Tensor};
use candle_nn::kv_cache::KvCache;
use candle_nn::ops::{rms_norm, silu, softmax_last_dim};
use candle_nn::rotary_emb::rope_i;

/// From so many tokens at once on, weights are unpacked.
const UNPACK_FROM: usize = 8;
/// What a conversation's memory grows by, in tokens.
const MEMORY_STEP: usize = 512;

/// The network, the same for all conversations.
pub(super) struct Llama {
    embeddings: Tensor,
    layers: Vec<Layer>,
    norm: Tensor,
    output: Linear,
    turns: Turns,
    shape: Shape,
}

/// What the network has read of one conversation.
pub(super) struct Memory {
    layers: Vec<KvCache>,
    /// In tokens.
    length: usize,
}

#[derive(Clone, Copy)]
struct Shape {
    heads: usize,
    kv_heads: usize,
    head_size: usize,
    epsilon: f32,
}

/// The rotations by which a token's place is told, for each place.
struct Turns {
    cos: Tensor,
    sin: Tensor,
}

struct Layer {
    attention_norm: Tensor,
    query: Linear,
    key: Linear,
    value: Linear,
    out: Linear,
    forward_norm: Tensor,
    gate: Linear,
    up: Linear,
    down: Linear,
}

struct Linear {
    packed: Arc<QTensor>,
    multiply: QMatMul,
}

impl Linear {
    fn new(weights: QTensor) -> Result<Self> {
        let packed = Arc::new(weights);
        Ok(Self { multiply: QMatMul::from_arc(Arc::clone(&packed))?, packed })
    }

    /// `x` is tokens by width.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if x.dim(0)? < UNPACK_FROM {
            return self.multiply.forward(x);
        }
        x.matmul(&self.packed.dequantize(&Device::Cpu)?.t()?)
    }
}

impl Llama {
    /// Reads the weights; the context is `context_tokens` at most.
    pub(super) fn read(content: &Content, file: &mut std::fs::File, context_tokens: usize) -> Result<Self> {
        let number = |name: &str| match content.metadata.get(name) {
            Some(value) => value.to_u32().map(|number| number as usize),
            None => candle_core::bail!("the weights say nothing of {name}"),
        };
        let real = |name: &str| content.metadata.get(name).map_or(Ok(0.0), |value| value.to_f32());
        let heads = number("llama.attention.head_count")?;
        let width = number("llama.embedding_length")?;
        let shape = Shape {
            heads,
            kv_heads: number("llama.attention.head_count_kv")?,
            head_size: number("llama.rope.dimension_count")?,
            epsilon: real("llama.attention.layer_norm_rms_epsilon")?,
        };
        if shape.kv_heads == 0 || heads % shape.kv_heads != 0 || shape.head_size * heads != width {
            candle_core::bail!("the weights' heads do not fit their width");
        }
        let turns = Turns::new(shape.head_size, real("llama.rope.freq_base")?, context_tokens)?;
        let mut tensor = |name: &str| content.tensor(file, name, &Device::Cpu);
        let embeddings = tensor("token_embd.weight")?;
        let mut layers = Vec::new();
        for number in 0..number("llama.block_count")? {
            let mut linear = |name: &str| Linear::new(tensor(&format!("blk.{number}.{name}.weight"))?);
            let (query, key, value, out) =
                (linear("attn_q")?, linear("attn_k")?, linear("attn_v")?, linear("attn_output")?);
            let (gate, up, down) = (linear("ffn_gate")?, linear("ffn_up")?, linear("ffn_down")?);
            let mut norm = |name: &str| tensor(&format!("blk.{number}.{name}.weight"))?.dequantize(&Device::Cpu);
            let (attention_norm, forward_norm) = (norm("attn_norm")?, norm("ffn_norm")?);
            layers.push(Layer { attention_norm, query, key, value, out, forward_norm, gate, up, down });
        }
        let norm = tensor("output_norm.weight")?.dequantize(&Device::Cpu)?;
        let unpacked = embeddings.dequantize(&Device::Cpu)?;
        // The same table tells what a token means and which token comes next.
        Ok(Self { embeddings: unpacked, layers, norm, output: Linear::new(embeddings)?, turns, shape })
    }

    /// A conversation in which nothing was said.
    pub(super) fn memory(&self) -> Memory {
        let layer = || KvCache::new(2, MEMORY_STEP);
        Memory { layers: self.layers.iter().map(|_| layer()).collect(), length: 0 }
    }

    /// Reads on in a conversation. Gives how much each token is expected to come next, by the token's number.
    pub(super) fn next(&self, tokens: &[u32], memory: &mut Memory) -> Result<Vec<f32>> {
        let count = tokens.len();
        let mask = (count > 1).then(|| mask(count, memory.length)).transpose()?;
        let (cos, sin) = self.turns.at(memory.length, count)?;
        let mut x = self.embeddings.index_select(&Tensor::new(tokens, &Device::Cpu)?, 0)?;
        for (layer, memory) in self.layers.iter().zip(&mut memory.layers) {
            let normal = rms_norm(&x, &layer.attention_norm, self.shape.epsilon)?;
            x = (x + layer.attend(&normal, mask.as_ref(), (&cos, &sin), self.shape, memory)?)?;
            let normal = rms_norm(&x, &layer.forward_norm, self.shape.epsilon)?;
            let gated = (silu(&layer.gate.forward(&normal)?)? * layer.up.forward(&normal)?)?;
            x = (x + layer.down.forward(&gated)?)?;
        }
        memory.length += count;
        let last = rms_norm(&x.i(count - 1..)?.contiguous()?, &self.norm, self.shape.epsilon)?;
        self.output.forward(&last)?.squeeze(0)?.to_vec1()
    }
}

impl Layer {
    fn attend(
        &self,
        x: &Tensor,
        mask: Option<&Tensor>,
        (cos, sin): (&Tensor, &Tensor),
        shape: Shape,
        memory: &mut KvCache,
    ) -> Result<Tensor> {
        let Shape { heads, kv_heads, head_size, .. } = shape;
        let count = x.dim(0)?;
        let by_head = |x: Tensor, heads: usize| x.reshape((1, count, heads, head_size))?.transpose(1, 2)?.contiguous();
        let query = rope_i(&by_head(self.query.forward(x)?, heads)?, cos, sin)?;
        let key = rope_i(&by_head(self.key.forward(x)?, kv_heads)?, cos, sin)?;
        let (keys, values) = memory.append(&key, &by_head(self.value.forward(x)?, kv_heads)?)?;
        let (keys, values) = (keys.squeeze(0)?, values.squeeze(0)?);
        let total = keys.dim(1)?;
        // Several heads share keys and values: their questions go side by side.
        let shared = heads / kv_heads;
        let query = query.reshape((kv_heads, shared * count, head_size))?;
        let mut scores = (query.matmul(&keys.t()?)? * (head_size as f64).sqrt().recip())?;
        if let Some(mask) = mask {
            let each = scores.reshape((kv_heads, shared, count, total))?.broadcast_add(mask)?;
            scores = each.reshape((kv_heads, shared * count, total))?;
        }
        let seen = softmax_last_dim(&scores)?.matmul(&values)?;
        let seen = seen.reshape((heads, count, head_size))?.transpose(0, 1)?.reshape((count, heads * head_size))?;
        self.out.forward(&seen)
    }
}

impl Turns {
    fn new(head_size: usize, base: f32, context_tokens: usize) -> Result<Self> {
        let speeds: Vec<f32> =
            (0..head_size).step_by(2).map(|at| base.powf(at as f32 / head_size as f32).recip()).collect();
        let speeds = Tensor::new(speeds, &Device::Cpu)?.reshape((1, ()))?;
        let places = Tensor::arange(0, u32::try_from(context_tokens).unwrap_or(u32::MAX), &Device::Cpu)?;
        let angles = places.to_dtype(DType::F32)?.reshape(((), 1))?.matmul(&speeds)?;
        Ok(Self { cos: angles.cos()?, sin: angles.sin()? })
    }

    fn at(&self, place: usize, count: usize) -> Result<(Tensor, Tensor)> {
        Ok((self.cos.narrow(0, place, count)?, self.sin.narrow(0, place, count)?))
    }
}

/// No token sees those after it: minus infinity for these, 0 for the others.
fn mask(count: usize, before: usize) -> Result<Tensor> {
    let total = before + count;
    let seen = |token: usize, other: usize| if other > before + token { f32::NEG_INFINITY } else { 0.0 };
    let mask: Vec<f32> = (0..count).flat_map(|token| (0..total).map(move |other| seen(token, other))).collect();
    Tensor::from_vec(mask, (count, total), &Device::Cpu)
}
