//! `simplenet export`: a model file in; the whole detector as an ONNX graph, or its head as the official code's checkpoint,
//! out.

use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use candle_core::Device;
use simplenet_data::preprocess::Preprocess;
use simplenet_model::{
    checkpoint::{self, ModelRecord},
    official::export::checkpoint_bytes,
    onnx::{self, Batch, InputRange, OnnxOptions},
    patch_aggregator::Reduction,
    simplenet::SimpleNet,
};

use super::{model_path, refuse_same_file};
use crate::{
    args::{ExportArgs, ExportFormat},
    error::CliError,
    output::atomic,
    progress::TerminalProgress,
};

/// Runs the verb.
///
/// # Errors
/// A model that cannot be read, or that the format cannot hold; flags of the other format; a file that cannot be written.
pub fn run(args: &ExportArgs, progress: &TerminalProgress) -> Result<(), CliError> {
    if args.format == ExportFormat::Pth && (args.normalise_inside || args.dynamic_batch) {
        let flag = if args.normalise_inside { "--normalise-inside" } else { "--dynamic-batch" };
        return Err(CliError::Usage(format!("{flag} is for `--format onnx`: a checkpoint takes no images")));
    }
    let model = model_path(args.model.as_deref())?;
    let out = args.out.clone().unwrap_or_else(|| beside(&model, args.format));
    refuse_same_file("--out", &out, &model)?;
    let (net, record) = checkpoint::load(&model, &Device::Cpu)?;
    println!("model: {}", model.display());
    match args.format {
        ExportFormat::Onnx => export_onnx(args, &net, &record, &out, progress),
        ExportFormat::Pth => export_pth(&net, &record, &out, progress),
    }
}

/// Where a file goes that has been given no name.
fn beside(model: &Path, format: ExportFormat) -> PathBuf {
    match format {
        ExportFormat::Onnx => model.with_extension("onnx"),
        ExportFormat::Pth => model.with_file_name("ckpt.pth"),
    }
}

fn export_onnx(
    args: &ExportArgs,
    net: &SimpleNet,
    record: &ModelRecord,
    out: &Path,
    progress: &TerminalProgress,
) -> Result<(), CliError> {
    let preprocess: Preprocess = serde_json::from_value(record.preprocessing.clone())
        .map_err(|e| CliError::Usage(format!("the model's preprocessing cannot be read: {e}")))?;
    let (width, height) = preprocess.network_size();
    let options = OnnxOptions {
        input: if args.normalise_inside { InputRange::Unit } else { InputRange::Normalised },
        batch: if args.dynamic_batch { Batch::Free } else { Batch::One },
    };
    let bytes = onnx::export(net, record, [height as usize, width as usize], options)?;
    atomic::write_bytes(out, &bytes)?;

    let images = if args.dynamic_batch { "N" } else { "1" };
    let range = match options.input {
        InputRange::Unit => "RGB from 0 to 1".into(),
        InputRange::Normalised => {
            format!("RGB, (v - mean) / std of v from 0 to 1, mean {:?}, std {:?}", record.mean, record.std)
        }
    };
    println!("input:   {} ({images}, 3, {height}, {width}) f32, {range}", onnx::INPUT);
    let judged = match record.threshold {
        Some(_) => format!(", pred_label ({images}), pred_mask ({images}, 1, {height}, {width})"),
        None => String::new(),
    };
    println!("outputs: anomaly_map ({images}, 1, {height}, {width}), pred_score ({images}){judged}");
    println!("written: {} ({})", out.display(), ByteSize::b(bytes.len() as u64));
    if record.threshold.is_none() {
        progress.note(
            "the model has no threshold, so the graph has no pred_label and no pred_mask; `simplenet calibrate` sets one",
        );
    }
    // What a caller has to do around the graph is in the preprocessing; of tiles the graph sees one at a time.
    if record.preprocessing.get("tiles").is_some_and(|tiles| !tiles.is_null()) {
        progress.note(
            "the model cuts photographs into tiles: the graph is the network of one tile, and cutting and joining them is left \
             to whoever runs it",
        );
    }
    Ok(())
}

fn export_pth(
    net: &SimpleNet,
    record: &ModelRecord,
    out: &Path,
    progress: &TerminalProgress,
) -> Result<(), CliError> {
    let bytes = checkpoint_bytes(net)?;
    atomic::write_bytes(out, &bytes)?;
    let (adaptor, discriminator) = (record.adaptor, record.discriminator);
    println!(
        "for the official code with --dsc_layers 2 --dsc_hidden {} --pre_proj {}",
        discriminator.hidden, adaptor.layers
    );
    println!("written: {} ({})", out.display(), ByteSize::b(bytes.len() as u64));
    if let Reduction::ChannelMean = record.aggregator.reduction {
        progress.note(&format!(
            "this head is for features of one number a channel, {} in all, which the official code does not make (it pools them to \
             --target_embed_dimension): there it gives other scores. A model of `--preset paper` gives the same",
            adaptor.dim
        ));
    }
    Ok(())
}
