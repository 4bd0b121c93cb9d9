//! The deterministic values that the other reference cases are built from, element by element.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests

use serde_json::Value;
use simplenet_tests::{
    read_manifest,
    scheme::{self, Kind},
};

#[test]
fn reference_scheme_has_the_seed_and_the_bits_of_every_worked_example() {
    let manifest = read_manifest("scheme");
    let tests = manifest["tests"].as_array().expect("tests");
    assert!(!tests.is_empty());
    for test in tests {
        let name = test["name"].as_str().expect("name");
        let shape: Vec<usize> = serde_json::from_value(test["shape"].clone()).expect("shape");
        assert_eq!(scheme::seed(name), hexadecimal(&test["seed"]), "{name}: seed");
        let values = scheme::values(name, &shape, kind(test["kind"].as_str().expect("kind")));
        for element in test["elements"].as_array().expect("elements") {
            let index = element["index"].as_u64().expect("index");
            let output = scheme::splitmix64(scheme::seed(name), index);
            assert_eq!(output, hexadecimal(&element["splitmix64_output"]), "{name}[{index}]");
            // Exact in f32; the JSON reader may be off by the last bit of f64.
            let u = element["u"].as_f64().expect("u");
            assert_eq!(scheme::uniform(output) as f32, u as f32, "{name}[{index}]");
            let bits = u64::from(values[index as usize].to_bits());
            assert_eq!(bits, hexadecimal(&element["value_bits"]), "{name}[{index}]");
        }
    }
}

/// The manifest's word for a kind; the gain of a block's last batch norm is the README's.
fn kind(word: &str) -> Kind {
    match word {
        "conv.weight" => Kind::ConvWeight,
        "linear.weight" => Kind::LinearWeight,
        "linear.bias" => Kind::LinearBias,
        "bn.weight" => Kind::NormWeight(1.0),
        "bn.weight.last" => Kind::NormWeight(0.5),
        "bn.bias" | "bn.running_mean" => Kind::NormShift,
        "bn.running_var" => Kind::NormVariance,
        other => match other.strip_prefix("input*").and_then(|scale| scale.parse().ok()) {
            Some(scale) => Kind::Input(scale),
            None => panic!("unknown kind of tensor `{other}`"),
        },
    }
}

fn hexadecimal(value: &Value) -> u64 {
    let digits = value.as_str().and_then(|text| text.strip_prefix("0x")).expect("0x…");
    u64::from_str_radix(digits, 16).expect("hexadecimal digits")
}
