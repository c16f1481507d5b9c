//! PEM text (RFC 7468) to labelled blocks and back.
//!
//! Written here because bundles mix keys and certificates and a certificate request must be alone:
//! both need to see every block and whatever stands between them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::Error;

/// Width of the base64 lines written, in characters (RFC 7468 §2).
const LINE_CHARACTERS: usize = 64;

/// One block.
pub(crate) struct Block {
    /// The label, such as `CERTIFICATE`.
    pub(crate) label: String,
    /// The decoded bytes.
    pub(crate) bytes: Vec<u8>,
}

/// All blocks of a text; text outside blocks is skipped, as every reader of PEM does.
pub(crate) fn blocks(what: &'static str, text: &str) -> Result<Vec<Block>, Error> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((block, after)) = next_block(what, rest)? {
        found.push(block);
        rest = after;
    }
    Ok(found)
}

/// The only block of a text, of the wanted label and with nothing after it.
pub(crate) fn single(
    what: &'static str,
    label: &'static str,
    text: &str,
) -> Result<Vec<u8>, Error> {
    let Some((block, after)) = next_block(what, text)? else {
        return Err(Error::Pem {
            what,
            reason: "no BEGIN line was found",
        });
    };
    if block.label != label {
        return Err(Error::PemType {
            wanted: label,
            found: block.label,
        });
    }
    if !after.trim().is_empty() {
        return Err(Error::Trailing { what });
    }
    Ok(block.bytes)
}

/// Writes one block, with a final line break.
pub(crate) fn encode(label: &str, bytes: &[u8]) -> String {
    let body = STANDARD.encode(bytes);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE_CHARACTERS));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// The first block of a text and the text after it.
fn next_block<'a>(what: &'static str, text: &'a str) -> Result<Option<(Block, &'a str)>, Error> {
    let broken = |reason| Error::Pem { what, reason };
    let Some((_, after_begin)) = text.split_once("-----BEGIN ") else {
        return Ok(None);
    };
    let (label, after_label) = after_begin
        .split_once("-----")
        .ok_or(broken("a BEGIN line does not end"))?;
    let end = format!("-----END {label}-----");
    let (body, after) = after_label
        .split_once(end.as_str())
        .ok_or(broken("a block has no matching END line"))?;
    let compact: String = body.split_ascii_whitespace().collect();
    let bytes = STANDARD
        .decode(compact)
        .map_err(|_| broken("a block is not valid base64"))?;
    let label = label.to_owned();
    Ok(Some((Block { label, bytes }, after)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_reads_back_and_lines_are_64_wide() {
        let bytes: Vec<u8> = (0..=255).collect();
        let text = encode("THING", &bytes);
        assert!(text.lines().all(|line| line.len() <= LINE_CHARACTERS));
        let read = blocks("a thing", &format!("preface\n{text}{text}")).expect("two blocks");
        assert_eq!(read.len(), 2);
        assert!(
            read.iter()
                .all(|block| block.label == "THING" && block.bytes == bytes)
        );
    }

    #[test]
    fn each_fault_is_named() {
        for (text, reason) in [
            ("", "a thing is not PEM: no BEGIN line was found"),
            (
                "-----BEGIN A",
                "a thing is not PEM: a BEGIN line does not end",
            ),
            (
                "-----BEGIN A-----\nAA==",
                "a thing is not PEM: a block has no matching END line",
            ),
            (
                "-----BEGIN A-----\n!\n-----END A-----",
                "a thing is not PEM: a block is not valid base64",
            ),
            (
                "-----BEGIN B-----\nAA==\n-----END B-----",
                "PEM block type must be A, found B",
            ),
            (
                "-----BEGIN A-----\nAA==\n-----END A-----\nx",
                "a thing must be a single PEM block; further text follows it",
            ),
        ] {
            let error = single("a thing", "A", text).expect_err(text);
            assert_eq!(error.to_string(), reason);
        }
    }
}
