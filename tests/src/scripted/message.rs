//! The server's messages as bytes: <https://www.postgresql.org/docs/current/protocol-message-formats.html>.

use wal_agent::wal::Lsn;

pub(super) const AUTHENTICATION_OK: [u8; 4] = [0; 4];
/// The body of CopyBothResponse: binary, no columns.
pub(super) const COPY_BOTH: &[u8] = &[0, 0, 0];

/// One message: its type, its length, its body.
pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("a short body");
    [&[tag], &length.to_be_bytes()[..], body].concat()
}

/// An ErrorResponse (`E`) or a NoticeResponse (`N`).
pub fn report(tag: u8, severity: &str, code: &str, text: &str) -> Vec<u8> {
    message(tag, format!("S{severity}\0V{severity}\0C{code}\0M{text}\0\0").as_bytes())
}

/// A result set with one row of text columns.
pub fn one_row(cells: &[Option<&[u8]>]) -> Vec<u8> {
    let count = u16::try_from(cells.len()).expect("few columns").to_be_bytes().to_vec();
    let (mut description, mut row) = (count.clone(), count);
    for cell in cells {
        description.extend([b"column\0", &[0; 18][..]].concat());
        let length = cell.map_or(-1, |value| i32::try_from(value.len()).expect("a short value"));
        row.extend(length.to_be_bytes());
        row.extend(cell.unwrap_or_default());
    }
    [message(b'T', &description), message(b'D', &row)].concat()
}

/// A message of the stream.
pub fn data(payload: &[u8]) -> Vec<u8> {
    message(b'd', payload)
}

/// WAL that begins at `start`, as a message of the stream.
pub fn wal(start: Lsn, bytes: &[u8]) -> Vec<u8> {
    data(&[&b"w"[..], &start.get().to_be_bytes(), &[0; 16], bytes].concat())
}

pub(super) fn parameter(name: &str, value: &str) -> Vec<u8> {
    message(b'S', format!("{name}\0{value}\0").as_bytes())
}

pub(super) fn ready() -> Vec<u8> {
    message(b'Z', b"I")
}

pub(super) fn complete(tag: &str) -> Vec<u8> {
    message(b'C', format!("{tag}\0").as_bytes())
}

pub(super) fn copy_done() -> Vec<u8> {
    message(b'c', b"")
}
