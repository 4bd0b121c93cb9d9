//! Training with another choice of feature levels than the default's, from photographs to verdicts, as a program does it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests

use std::fs;

use candle_core::Device;
use simplenet_model::{BackboneId, checkpoint};
use simplenet_tests::{demo, program::run};

#[test]
fn other_levels_are_trained_saved_and_run() {
    let folder = demo::folder();
    for (list, shown, grid) in
        [("[1, 2, 3]", "1+2+3", (16, 16)), ("[3]", "3", (4, 4)), ("[1, 2]", "1+2", (16, 16))]
    {
        let out = format!("levels-{shown}");
        fs::write(folder.path().join("levels.toml"), format!("levels = {list}\n")).unwrap();
        let train = "simplenet train --data demo/oak_plank --config levels.toml --size 64 --epochs 1";
        run(folder.path(), &format!("{train} --out {out}")).ok().says(&["trained on 7 images"]);
        let path = folder.path().join(&out).join("model.safetensors");
        let (net, record) = checkpoint::load(&path, &Device::Cpu).unwrap();
        let backbone = BackboneId::EfficientNetLite0;
        assert_eq!((record.backbone, record.levels.to_string().as_str()), (backbone, shown));
        assert_eq!(net.extractor().grid(64, 64), grid, "{shown}: patches lie on the finest level's grid");
        let dim: usize = backbone.taps(record.levels).unwrap().iter().map(|tap| tap.channels).sum();
        assert_eq!(record.adaptor.dim, dim, "{shown}: as many numbers a patch as the levels have channels");

        let model = format!("--model {out}/model.safetensors");
        run(folder.path(), &format!("simplenet verify {model}")).ok();
        run(folder.path(), &format!("simplenet info {model}")).ok().says(&[&format!("levels {shown}")]);
        for precision in ["f32", "bf16", "int8"] {
            let input = "--input demo/oak_plank/test/good";
            let line =
                format!("simplenet infer {model} {input} --precision {precision} --output {out}/{precision}");
            run(folder.path(), &line).ok().says(&["000.png"]);
        }
        run(folder.path(), &format!("simplenet eval {model} --data demo/oak_plank")).ok();

        // What it was trained with trains the same again.
        let again =
            format!("simplenet train --data demo/oak_plank --config {out}/config.toml --out again-{shown}");
        run(folder.path(), &again).ok();
        let again = folder.path().join(format!("again-{shown}/model.safetensors"));
        assert!(fs::read(again).unwrap() == fs::read(path).unwrap(), "{shown}: another model file");
    }
}

#[test]
fn levels_that_cannot_be_tapped_are_refused() {
    let folder = demo::folder();
    for (settings, words) in [
        ("levels = [3, 2]", &["levels", "[3, 2]", "1, 2, 3"][..]),
        ("levels = []", &["levels", "1, 2, 3"]),
        ("levels = [1]\nbackbone = \"dinov2-vits14\"", &["dinov2-vits14", "[2, 3]"]),
    ] {
        fs::write(folder.path().join("levels.toml"), settings).unwrap();
        let line = "simplenet train --data demo/oak_plank --config levels.toml --out never";
        run(folder.path(), line).refused(words);
        assert!(!folder.path().join("never").exists(), "a refused training must not leave a folder");
    }
}
