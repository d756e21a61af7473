//! gob as Go writes it, against what Go says is in it, against a second reader, and against bytes of no good will.

mod dynamic;
mod gostyle;

mod golden;
mod hostile;
mod oracle;
mod replies;
mod targets;

use std::path::PathBuf;

use self::dynamic::Dynamic;
use super::{Decoder, Error, Limits};

/// The folder of the bytes that Go wrote.
fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/wire")
}

/// The files of that folder that are named so, in order, which is the order they were written in.
fn files(prefix: &str, suffix: &str) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder().join("gen"))
        .unwrap()
        .chain(std::fs::read_dir(folder()).unwrap())
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.path()))
        .filter(|(name, _)| name.starts_with(prefix) && name.ends_with(suffix))
        .map(|(name, path)| (name, std::fs::read(path).unwrap()))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no {prefix}*{suffix}");
    files
}

/// Every stream that Go wrote, whole.
fn streams() -> Vec<(String, Vec<u8>)> {
    let joined = |prefix, suffix| {
        let bytes = files(prefix, suffix).into_iter().flat_map(|(_, bytes)| bytes).collect();
        (format!("{prefix}*{suffix}"), bytes)
    };
    let mut streams = vec![
        joined("ctl_", ".req.bin"),
        joined("ctl_", ".resp.bin"),
        joined("plg_", ".req.bin"),
        joined("plg_", ".resp.bin"),
        joined("resp_templates", ".bin"),
    ];
    streams.extend(generated());
    streams
}

/// The streams that `gen/main.go` wrote.
fn generated() -> Vec<(String, Vec<u8>)> {
    let named = |(name, bytes): (String, Vec<u8>)| Some((name.strip_suffix(".bin")?.to_owned(), bytes));
    let ours = |(name, _): &(String, Vec<u8>)| folder().join("gen").join(name).exists();
    files("", ".bin").into_iter().filter(ours).filter_map(named).collect()
}

/// All values of a stream that arrives in these pieces, and the error that ended it.
fn read_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limits: Limits) -> (Vec<Dynamic>, Option<Error>) {
    let mut decoder = Decoder::new(limits);
    let mut values = Vec::new();
    for piece in pieces {
        if let Err(error) = decoder.push(piece) {
            return (values, Some(error));
        }
        loop {
            match decoder.next_value() {
                Ok(Some(value)) => values.push(value.deserialize().unwrap()),
                Ok(None) => break,
                Err(error) => return (values, Some(error)),
            }
        }
    }
    (values, None)
}

/// All values of a stream that is sound.
fn read(bytes: &[u8]) -> Vec<Dynamic> {
    let (values, error) = read_pieces([bytes], Limits::default());
    assert_eq!(error, None);
    values
}
