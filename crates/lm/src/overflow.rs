//! Finds the layer in which numbers stop being finite.

use std::cell::RefCell;

use burn::tensor::Tensor;

use crate::{LanguageModel, Positions, TokenBatch};

/// What the forward pass of this thread reports.
enum Watch {
    /// Nothing, as usual: reading every layer's output takes time, and on a GPU a synchronisation.
    Off,
    /// The first layer whose output is not finite.
    On,
    /// That layer was found.
    Found(String),
}

thread_local! {
    static WATCH: RefCell<Watch> = const { RefCell::new(Watch::Off) };
}

/// The first layer of a model whose output for a prompt and a text has a number that is NaN or infinite, named as in Hugging
/// Face's files, such as `decoder.block.3`. None if all are finite, or if the model does not report its layers.
///
/// It repeats the forward pass and reads the output of every layer, so call it when logits are not finite.
pub fn first_overflow(model: &dyn LanguageModel, prompt: &[u32], text: &[u32]) -> Option<String> {
    WATCH.set(Watch::On);
    let pad = model.spec().pad;
    let mut context = model.prefill(&TokenBatch::new(&[prompt], pad), 0);
    let tokens = [&context.starts(), text].concat();
    let hidden = model.hidden(&TokenBatch::new(&[tokens], pad), &[0], Positions::Last(&[1]), &mut context);
    observe(&model.head(&hidden), || "lm_head".into());
    match WATCH.replace(Watch::Off) {
        Watch::Found(layer) => Some(layer),
        _ => None,
    }
}

/// Reports the output of a layer, if this thread watches.
pub(crate) fn observe(output: &Tensor<2>, layer: impl FnOnce() -> String) {
    WATCH.with_borrow_mut(|watch| {
        if matches!(watch, Watch::On) && !output.to_data().iter::<f32>().all(f32::is_finite) {
            *watch = Watch::Found(layer());
        }
    });
}
