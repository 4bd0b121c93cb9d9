//! Text made safe to stand inside a page.

/// Text for element content and quoted attributes. Control characters, which HTML cannot hold, become U+FFFD.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(' '),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A score as people read it: three decimals, or an exponent where that would show nothing.
pub(in crate::output) fn score(value: f32) -> String {
    if value != 0.0 && !(1e-2..1e5).contains(&value.abs()) {
        format!("{value:.2e}")
    } else {
        format!("{value:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_become_markup() {
        assert_eq!(
            escape("<img src=x onerror='a()'>&\"\u{0}\n"),
            "&lt;img src=x onerror=&#39;a()&#39;&gt;&amp;&quot;\u{fffd} "
        );
        assert_eq!(escape("größe 螺丝"), "größe 螺丝");
    }

    #[test]
    fn scores_are_short() {
        for (value, expected) in [(0.0, "0.000"), (-0.4567, "-0.457"), (12.0, "12.000"), (1.5e-4, "1.50e-4")]
        {
            assert_eq!(score(value), expected);
        }
    }
}
