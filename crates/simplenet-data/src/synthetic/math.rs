//! Elementary functions that give the same bits on every machine.
//!
//! In: f32. Out: f32, made of `+ - * /`, square root and floor only, which IEEE 754 rounds in one way.
//! The libm of a platform may differ in the last bit of `sin` or `exp`; a demo picture must not, because
//! its pixels are hashed by a test and its scores are compared between machines.

/// Linear blend: `a` at `t = 0`, `b` at `t = 1`.
pub(super) fn mix(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

/// Blend of two colours, channel by channel.
pub(super) fn mix3(a: [f32; 3], b: [f32; 3], t: f32) -> [f32; 3] {
    [mix(a[0], b[0], t), mix(a[1], b[1], t), mix(a[2], b[2], t)]
}

/// A colour times a number.
pub(super) fn scale3(a: [f32; 3], t: f32) -> [f32; 3] {
    [a[0] * t, a[1] * t, a[2] * t]
}

/// 0 below `from`, 1 above `to`, the cubic step between; `from > to` gives the falling step.
pub(super) fn smoothstep(from: f32, to: f32, x: f32) -> f32 {
    let t = ((x - from) / (to - from)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Sine of `turns` full turns (1.0 = 360 degrees); Taylor series to the 11th power, error below 1e-6.
pub(super) fn sin_turns(turns: f32) -> f32 {
    let wrapped = turns - (turns + 0.5).floor();
    let folded = if wrapped > 0.25 {
        0.5 - wrapped
    } else if wrapped < -0.25 {
        -0.5 - wrapped
    } else {
        wrapped
    };
    let x = folded * std::f32::consts::TAU;
    let x2 = x * x;
    let tail = 1.0 / 362_880.0 - x2 / 39_916_800.0;
    let series = 1.0 - x2 * (1.0 / 6.0 - x2 * (1.0 / 120.0 - x2 * (1.0 / 5040.0 - x2 * tail)));
    x * series
}

/// Cosine of `turns` full turns.
pub(super) fn cos_turns(turns: f32) -> f32 {
    sin_turns(turns + 0.25)
}

/// Angle of the vector `(x, y)` in turns, in `[-0.5, 0.5]`; error below 2e-5 of a turn; 0 for the null vector.
///
/// The polynomial is Abramowitz and Stegun 4.4.49 for the arc tangent on `[0, 1]`.
pub(super) fn atan2_turns(y: f32, x: f32) -> f32 {
    let (ax, ay) = (x.abs(), y.abs());
    let largest = ax.max(ay);
    if largest == 0.0 {
        return 0.0;
    }
    let t = ax.min(ay) / largest;
    let t2 = t * t;
    let polynomial =
        0.999_866 + t2 * (-0.330_299_5 + t2 * (0.180_141 + t2 * (-0.085_133 + t2 * 0.020_835_1)));
    let mut angle = t * polynomial / std::f32::consts::TAU;
    if ay > ax {
        angle = 0.25 - angle;
    }
    if x < 0.0 {
        angle = 0.5 - angle;
    }
    if y < 0.0 { -angle } else { angle }
}

/// `exp(-x)` for `x >= 0` (a negative `x` counts as 0); relative error below 1e-4 up to `x = 16`.
pub(super) fn exp_neg(x: f32) -> f32 {
    let y = x.max(0.0) / 64.0;
    let mut value = 1.0 / (1.0 + y * (1.0 + y * (0.5 + y * (1.0 / 6.0 + y / 24.0))));
    for _ in 0..6 {
        value *= value;
    }
    value
}

/// `x` to the power `2^doublings`, for specular lobes.
pub(super) fn pow2n(x: f32, doublings: u32) -> f32 {
    let mut value = x;
    for _ in 0..doublings {
        value *= value;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_agree_with_the_library_of_the_platform() {
        for step in -400..400 {
            let t = step as f32 * 0.01;
            let angle = f64::from(t) * std::f64::consts::TAU;
            assert!((f64::from(sin_turns(t)) - angle.sin()).abs() < 5e-6, "sin {t}");
            assert!((f64::from(cos_turns(t)) - angle.cos()).abs() < 5e-6, "cos {t}");
            let x = t.abs() * 2.0;
            let exact = (-f64::from(x)).exp();
            assert!((f64::from(exp_neg(x)) / exact - 1.0).abs() < 1e-4, "exp {x}");
            if t.abs() < 0.49 {
                let back = atan2_turns(sin_turns(t), cos_turns(t));
                assert!((back - t).abs() < 5e-5, "atan2 {t} {back}");
            }
        }
        assert_eq!(atan2_turns(0.0, 0.0), 0.0);
        assert_eq!(pow2n(1.5, 2), 1.5 * 1.5 * 1.5 * 1.5);
    }
}
