//! What came back, read as leniently as a browser might.

use super::{Acceptable, RawAnswer, h2};

/// All that came back over one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// The answers, in order.
    pub answers: Vec<Answer>,
    /// Bytes after them that are no answer, or the beginning of one.
    pub rest: usize,
    /// Without any answer: how the connection ended.
    pub closed: Option<String>,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// `grpc-status`, if there is one.
    pub grpc: Option<u16>,
    /// Its body, as far as it came.
    pub body: String,
}

impl Answers {
    /// Whether all that came back is acceptable.
    pub fn are(&self, acceptable: &[Acceptable]) -> bool {
        if self.rest > 0 {
            return false;
        }
        if self.answers.is_empty() {
            let how = match self.closed {
                Some(_) => Acceptable::Closed,
                None => Acceptable::Silence,
            };
            return acceptable.contains(&how);
        }
        self.answers.iter().all(|answer| {
            let refused = answer.grpc.is_some_and(|status| status != 0);
            acceptable.contains(&if refused {
                Acceptable::GrpcError
            } else {
                Acceptable::Status(answer.status)
            })
        })
    }

    /// In words.
    pub fn in_words(&self) -> String {
        let mut words: Vec<_> = self
            .answers
            .iter()
            .map(|answer| match answer.grpc {
                Some(status) => format!("{} with grpc-status {status}", answer.status),
                None => answer.status.to_string(),
            })
            .collect();
        if self.rest > 0 {
            words.push(format!("{} bytes that are no answer", self.rest));
        }
        match (&self.closed, words.is_empty()) {
            (Some(how), true) => format!("closed: {how}"),
            (None, true) => "silence".to_owned(),
            _ => words.join(", then "),
        }
    }
}

/// Reads all answers; whatever can be read is. `is_head` if none has a body.
pub fn read_answers(raw: &RawAnswer, is_head: bool) -> Answers {
    let closed = raw.closed.clone();
    if h2::is_answer(&raw.bytes) {
        let (statuses, ended) = h2::statuses(&raw.bytes);
        let answer = |status| Answer {
            status,
            grpc: None,
            body: String::new(),
        };
        return Answers {
            answers: statuses.into_iter().map(answer).collect(),
            rest: 0,
            closed: closed.or(ended.then(|| "stream reset".to_owned())),
        };
    }
    let mut answers = Vec::new();
    let mut rest = &raw.bytes[..];
    while let Some((answer, length)) = read_one(rest, closed.is_some(), is_head) {
        answers.push(answer);
        rest = &rest[length..];
    }
    Answers {
        answers,
        rest: rest.len(),
        closed,
    }
}

/// The first answer of an HTTP/1 connection and its length; none if it is not
/// whole yet, and more may come.
fn read_one(bytes: &[u8], ended: bool, is_head: bool) -> Option<(Answer, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(head)) = response.parse(bytes) else {
        return None;
    };
    let status = response.code.unwrap_or_default();
    let header = |wanted: &str| {
        let mut headers = response.headers.iter();
        let found = headers.find(|header| header.name.eq_ignore_ascii_case(wanted))?;
        Some(String::from_utf8_lossy(found.value).into_owned())
    };
    let body = &bytes[head..];
    let length = header("content-length").and_then(|length| length.parse().ok());
    let chunked = header("transfer-encoding").is_some();
    let length = match (length, chunked) {
        _ if is_head || matches!(status, 100..=199 | 204 | 304) => 0,
        (_, true) => chunks(body).or(ended.then_some(body.len()))?,
        (Some(length), _) if body.len() >= length => length,
        _ if ended => body.len(),
        (Some(_), _) => return None,
        (None, _) => 0,
    };
    let answer = Answer {
        status,
        grpc: header("grpc-status").and_then(|status| status.parse().ok()),
        body: String::from_utf8_lossy(&body[..length]).into_owned(),
    };
    Some((answer, head + length))
}

/// The length of a chunked body; none if its last chunk is not there.
fn chunks(body: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = body.get(at..)?.windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(&body[at..at + line]).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        at = at.checked_add(line + 2 + size + 2)?;
        if size == 0 {
            return (at <= body.len()).then_some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], closed: Option<&str>) -> Answers {
        read_as(bytes, closed, false)
    }

    fn read_as(bytes: &[u8], closed: Option<&str>, is_head: bool) -> Answers {
        let raw = RawAnswer {
            local: None,
            local_at_own_proxy: None,
            bytes: bytes.to_vec(),
            closed: closed.map(str::to_owned),
        };
        read_answers(&raw, is_head)
    }

    const TWO: &[u8] = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno\
        HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\n\r\n";

    #[test]
    fn every_answer_of_a_connection_counts() {
        let read = read(TWO, None);
        assert_eq!(read.in_words(), "401, then 200");
        assert!(!read.are(&[Acceptable::Status(401)]));
        assert!(read.are(&[Acceptable::Status(401), Acceptable::Status(200)]));
        assert_eq!(read.answers[0].body, "no");
    }

    #[test]
    fn bytes_that_are_no_answer_are_never_acceptable() {
        let read = read(b"HTTP/1.1 401 x\r\ncontent-length: 0\r\n\r\nsecret", None);
        assert_eq!(read.in_words(), "401, then 6 bytes that are no answer");
        assert!(!read.are(&[Acceptable::Status(401)]));
    }

    #[test]
    fn a_refusal_of_grpc_is_no_success() {
        let read = read(
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\ngrpc-status: 16\r\n\r\n",
            None,
        );
        assert!(!read.are(&[Acceptable::Status(200)]));
        assert!(read.are(&[Acceptable::GrpcError]));
    }

    #[test]
    fn without_an_answer_it_matters_who_hung_up() {
        let closed = read(b"", Some("alert"));
        assert!(closed.are(&[Acceptable::Closed]) && !closed.are(&[Acceptable::Silence]));
        let silent = read(b"", None);
        assert!(silent.are(&[Acceptable::Silence]) && !silent.are(&[Acceptable::Closed]));
    }

    #[test]
    fn the_answer_to_a_head_has_a_length_and_no_body() {
        let bytes = b"HTTP/1.1 403 x\r\ncontent-length: 9\r\n\r\n";
        assert_eq!(read_as(bytes, None, true).in_words(), "403");
        assert!(!read_as(bytes, None, false).are(&[Acceptable::Status(403)]));
    }
}
