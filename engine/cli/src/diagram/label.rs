//! Text that Mermaid shows as it is.

use std::fmt::Write as _;

use crate::output::fit;

/// Characters of one line of a label.
const CHARS_MAX: usize = 60;

/// In quotes, one part a line. Letters, digits and a few marks go as they are; everything else that Mermaid could take
/// for its own becomes an entity.
pub(super) fn label(parts: &[&str]) -> String {
    let mut out = String::from("\"");
    for (i, part) in parts.iter().filter(|part| !part.is_empty()).enumerate() {
        if i > 0 {
            out.push_str("<br/>");
        }
        for c in fit(part, CHARS_MAX).chars() {
            if c.is_alphanumeric() || matches!(c, ' ' | '_' | '-' | '.' | ',' | '/' | '…' | '=') {
                out.push(c);
            } else {
                // Writing to a string cannot fail.
                let _infallible = write!(out, "#{};", u32::from(c));
            }
        }
    }
    if out.len() == 1 {
        out.push(' ');
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_mermaid_could_misread_becomes_an_entity() {
        assert_eq!(label(&["a\"b", ""]), "\"a#34;b\"");
        assert_eq!(label(&["x", "<b>&#`;"]), "\"x<br/>#60;b#62;#38;#35;#96;#59;\"");
        assert_eq!(label(&["größe 1"]), "\"größe 1\"");
        assert_eq!(label(&[""]), "\" \"");
        assert_eq!(label(&["a\n}"]), "\"a #125;\"");
    }
}
