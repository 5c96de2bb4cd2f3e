//! As much of HTTP/2 (RFC 9113) and HPACK (RFC 7541) as it takes to send one
//! request that no client library would, and to read its status.

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;
/// Of a frame (RFC 9113 §4.1).
const HEAD: usize = 9;
/// The largest frame that may be sent unasked (§4.2).
const ROOM: usize = 16_384;

/// The preface, empty settings and one request on stream 1. Nothing is checked
/// or put in order.
pub fn request(headers: &[(Vec<u8>, Vec<u8>)], body: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = PREFACE.to_vec();
    frame(&mut bytes, SETTINGS, 0, 0, &[]);
    let mut block = Vec::new();
    for (name, value) in headers {
        // A literal that is not indexed, with a literal name (RFC 7541 §6.2.2).
        block.push(0);
        string(&mut block, name);
        string(&mut block, value);
    }
    let end = if body.is_some() { 0 } else { END_STREAM };
    block.truncate(ROOM);
    frame(&mut bytes, HEADERS, END_HEADERS | end, 1, &block);
    if let Some(body) = body {
        frame(
            &mut bytes,
            DATA,
            END_STREAM,
            1,
            &body[..body.len().min(ROOM)],
        );
    }
    bytes
}

fn frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len())
        .unwrap_or(u32::MAX)
        .to_be_bytes();
    bytes.extend_from_slice(&length[1..]);
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
}

/// A string literal without Huffman code (RFC 7541 §5.2), its length an integer
/// with a prefix of seven bits (§5.1).
fn string(block: &mut Vec<u8>, text: &[u8]) {
    let mut rest = text.len();
    if rest < 127 {
        block.push(u8::try_from(rest).unwrap_or_default());
    } else {
        block.push(127);
        rest -= 127;
        while rest >= 128 {
            block.push(u8::try_from(rest % 128).unwrap_or_default() | 128);
            rest /= 128;
        }
        block.push(u8::try_from(rest).unwrap_or_default());
    }
    block.extend_from_slice(text);
}

/// Whether bytes are an HTTP/2 server's: it begins with settings.
pub fn is_answer(bytes: &[u8]) -> bool {
    bytes.len() >= HEAD && bytes[3] == SETTINGS && bytes[0] == 0
}

/// The statuses of all responses, in order, and whether the stream has ended.
pub fn statuses(bytes: &[u8]) -> (Vec<u16>, bool) {
    const RST_STREAM: u8 = 3;
    const GO_AWAY: u8 = 7;
    let mut found = Vec::new();
    let mut ended = false;
    let mut rest = bytes;
    while let Some((head, after)) = rest.split_at_checked(HEAD) {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let Some((payload, after)) = after.split_at_checked(length) else {
            break;
        };
        let (kind, flags) = (head[3], head[4]);
        if kind == HEADERS {
            found.extend(status(block_of(payload, flags)));
        }
        ended |= matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0;
        ended |= matches!(kind, RST_STREAM | GO_AWAY);
        rest = after;
    }
    (found, ended)
}

/// The header block of a HEADERS frame (RFC 9113 §6.2).
fn block_of(payload: &[u8], flags: u8) -> &[u8] {
    let padded = flags & PADDED != 0;
    let start = usize::from(padded) + if flags & PRIORITY != 0 { 5 } else { 0 };
    payload.get(start..).unwrap_or_default()
}

/// The status, which comes first in the block: from the static table, or a
/// literal with one of its names (RFC 7541 appendix A).
fn status(block: &[u8]) -> Option<u16> {
    // The dynamic table may be resized first (§6.3).
    let start = block.iter().position(|byte| byte & 0xe0 != 0x20)?;
    let block = &block[start..];
    let indexed = [200, 204, 206, 304, 400, 404, 500];
    match block.first()? {
        byte @ 0x88..=0x8e => Some(indexed[usize::from(byte - 0x88)]),
        0x08..=0x0e | 0x18..=0x1e | 0x48..=0x4e => {
            let length = *block.get(1)?;
            let text = block.get(2..2 + usize::from(length & 0x7f))?;
            if length & 0x80 == 0 {
                std::str::from_utf8(text).ok()?.parse().ok()
            } else {
                Some(huffman_digits(text))
            }
        }
        _ => None,
    }
}

/// Three digits in Huffman code (RFC 7541 appendix B): 0 to 2 have five bits, the
/// others six.
fn huffman_digits(bytes: &[u8]) -> u16 {
    let bits = bytes
        .iter()
        .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
    let mut left = 8 * u32::try_from(bytes.len()).unwrap_or_default();
    let mut take = |count: u32| {
        left = left.saturating_sub(count);
        bits >> left & ((1 << count) - 1)
    };
    let mut number = 0;
    for _ in 0..3 {
        let five = take(5);
        let digit = if five < 3 {
            five
        } else {
            // 3 is 011001.
            (five << 1 | take(1)).saturating_sub(0b01_1001) + 3
        };
        number = number * 10 + digit;
    }
    u16::try_from(number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_preface_settings_and_headers() {
        let long = vec![b'a'; 300];
        let bytes = request(
            &[
                (b":method".to_vec(), b"GET".to_vec()),
                (b"x".to_vec(), long),
            ],
            None,
        );
        let frames = bytes.strip_prefix(PREFACE).unwrap();
        assert_eq!(&frames[..9], [0, 0, 0, 4, 0, 0, 0, 0, 0]);
        let block = &frames[18..];
        assert_eq!(block[..13], *b"\x00\x07:method\x03GET");
        // 300 - 127 = 173 = 0xad
        assert_eq!(block[13..18], [0, 1, b'x', 127, 0xad]);
        assert_eq!(
            frames[9..12],
            [0, 1, 0x3f],
            "the block's length: {}",
            block.len()
        );
    }

    #[test]
    fn statuses_are_read_in_every_form() {
        let answer = |block: &[u8]| {
            let mut bytes = Vec::new();
            frame(&mut bytes, SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]);
            frame(&mut bytes, HEADERS, END_HEADERS | END_STREAM, 1, block);
            assert!(is_answer(&bytes));
            statuses(&bytes)
        };
        assert_eq!(answer(&[0x88, 0x40]), (vec![200], true));
        assert_eq!(answer(b"\x48\x03401"), (vec![401], true));
        // 403: 011010 00000 011001, padded with ones.
        assert_eq!(
            answer(&[0x48, 0x83, 0b0110_1000, 0b0000_1100, 0b1111_1111]),
            (vec![403], true)
        );
        // 401: 011010 00000 00001
        assert_eq!(
            answer(&[0x20, 0x48, 0x82, 0b0110_1000, 0b0000_0001]),
            (vec![401], true)
        );
    }

    #[test]
    fn a_reset_ends_the_stream_without_a_status() {
        let mut bytes = Vec::new();
        frame(&mut bytes, SETTINGS, 0, 0, &[]);
        assert_eq!(statuses(&bytes), (vec![], false));
        frame(&mut bytes, 3, 0, 1, &[0, 0, 0, 1]);
        assert_eq!(statuses(&bytes), (vec![], true));
        assert_eq!(statuses(&bytes[..12]), (vec![], false), "half a frame");
    }
}
