//! What a terminal would act on, made visible. In: text with names of files, of models, of anyone. Out: the same text, its
//! control characters and those that turn the direction of writing written as `\u{1b}`: a file's name must not clear the
//! screen, hide a line or pass for another name.

use std::borrow::Cow;

/// Text of several lines: line ends and tabs stay.
pub fn escaped(text: &str) -> Cow<'_, str> {
    replaced(text, |c| is_acted_on(c) && !matches!(c, '\n' | '\t'))
}

/// Text that must stay on one line, such as a name.
pub fn escaped_line(text: &str) -> Cow<'_, str> {
    replaced(text, is_acted_on)
}

fn is_acted_on(c: char) -> bool {
    // Marks, embeddings, overrides and isolates of bidirectional text.
    let turns =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns
}

fn replaced(text: &str, wanted: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&wanted) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if wanted(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_are_shown_and_all_else_stays() {
        for (text, lines, line) in [
            ("größe 检测 🔩 50%.png", "größe 检测 🔩 50%.png", "größe 检测 🔩 50%.png"),
            ("a\x1b[2Jb", "a\\u{1b}[2Jb", "a\\u{1b}[2Jb"),
            ("a\u{9b}2Jb\x07\x7f", "a\\u{9b}2Jb\\u{7}\\u{7f}", "a\\u{9b}2Jb\\u{7}\\u{7f}"),
            ("one\ntwo\tthree\r", "one\ntwo\tthree\\r", "one\\ntwo\\tthree\\r"),
            ("rtl_\u{202e}gnp.txt.png", "rtl_\\u{202e}gnp.txt.png", "rtl_\\u{202e}gnp.txt.png"),
        ] {
            assert_eq!(escaped(text), lines);
            assert_eq!(escaped_line(text), line);
        }
        assert!(matches!(escaped("plain"), Cow::Borrowed(_)));
    }
}
