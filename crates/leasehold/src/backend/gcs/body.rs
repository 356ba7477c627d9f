//! Whether the bytes of an answer are those of the object: an answer that is cut short, or changed on the
//! way, is no record that is damaged.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc::{CRC_32_ISCSI, Crc};
use leasehold_core::backend::MAX_RECORD_BYTES;

use crate::backend::http::answer::Answer;

/// The size of what is stored.
const LENGTH: &str = "x-goog-stored-content-length";

/// How it is stored. What is stored compressed may be sent as it was before.
const ENCODING: &str = "x-goog-stored-content-encoding";

/// Checksums of what is stored: `crc32c=…,md5=…`, in one header or several.
const HASH: &str = "x-goog-hash";

const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// An error where the answer itself says that it shows something else than what is stored. What it does not
/// say is not checked, and neither is what is too long for a record anyway.
pub(super) fn check(answer: &Answer) -> Result<(), String> {
    let is_plain = |name| answer.header(name).is_none_or(|encoding| encoding == "identity");
    if !is_plain(ENCODING) || !is_plain("content-encoding") || answer.body.len() > MAX_RECORD_BYTES
    {
        return Ok(());
    }
    let length = answer.header(LENGTH).and_then(|text| text.parse::<u64>().ok());
    let came = answer.body.len() as u64;
    if let Some(length) = length.filter(|length| *length != came) {
        return Err(format!("the answer is cut short: {came} of {length} bytes came"));
    }
    let hashes = answer.headers.get_all(HASH).into_iter().filter_map(|value| value.to_str().ok());
    let sum = hashes.flat_map(|value| value.split(',')).find_map(|hash| {
        let sum = STANDARD.decode(hash.trim().strip_prefix("crc32c=")?).ok()?;
        Some(u32::from_be_bytes(sum.try_into().ok()?))
    });
    match sum {
        Some(sum) if sum != CRC32C.checksum(&answer.body) => {
            Err("the answer was changed on the way: its checksum is another (crc32c)".into())
        }
        _ => Ok(()),
    }
}
