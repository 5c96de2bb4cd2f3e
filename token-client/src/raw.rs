//! Bytes over a connection, exactly as they are: for requests that no HTTP client
//! would send.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

/// How long to wait for the first byte.
const PATIENCE: Duration = Duration::from_secs(2);
/// And for more after some have come.
const AFTERTHOUGHT: Duration = Duration::from_millis(300);
/// More than this is not listened to.
const MAX_HEARD: usize = 4 << 20;

/// What came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// All bytes, in order.
    pub bytes: Vec<u8>,
    /// How the other side ended the connection; none if it only fell silent.
    pub closed: Option<String>,
}

/// Sends all bytes and listens until the other side closes the connection or has
/// said nothing for a while. Whatever happens is in what was heard.
pub async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, sent: &[u8]) -> Heard {
    let mut heard = Heard::default();
    // Who refuses the beginning need not read the rest: the answer counts.
    let written = timeout(PATIENCE, async {
        stream.write_all(sent).await?;
        stream.flush().await
    });
    let cut_short = match written.await {
        Ok(Err(error)) => Some(error.to_string()),
        Ok(Ok(())) | Err(_) => None,
    };
    while heard.bytes.len() < MAX_HEARD {
        let patience = if heard.bytes.is_empty() {
            PATIENCE
        } else {
            AFTERTHOUGHT
        };
        match timeout(patience, read(&mut stream, &mut heard.bytes)).await {
            Ok(Ok(0)) => {
                heard.closed = Some(cut_short.unwrap_or_else(|| "end of stream".to_owned()));
                break;
            }
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                heard.closed = Some(error.to_string());
                break;
            }
            Err(_elapsed) => break,
        }
    }
    heard
}

async fn read(stream: &mut (impl AsyncRead + Unpin), bytes: &mut Vec<u8>) -> io::Result<usize> {
    stream.read_buf(bytes).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_arrive_as_they_are_and_the_end_is_told() {
        let (here, mut there) = tokio::io::duplex(64);
        let server = async {
            let mut bytes = [0; 4];
            there.read_exact(&mut bytes).await.unwrap();
            there.write_all(b"no").await.unwrap();
            drop(there);
            bytes
        };
        let (bytes, heard) = tokio::join!(server, converse(here, b"\0\r\xff\n"));
        assert_eq!(bytes, *b"\0\r\xff\n");
        assert_eq!(heard.bytes, b"no");
        assert_eq!(heard.closed.as_deref(), Some("end of stream"));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_no_end() {
        let (here, _there) = tokio::io::duplex(64);
        assert_eq!(converse(here, b"x").await, Heard::default());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_said_before_all_is_read_counts() {
        let (here, mut there) = tokio::io::duplex(8);
        let server = async {
            there.write_all(b"no").await.unwrap();
            there
        };
        let (_there, heard) = tokio::join!(server, converse(here, &[0; 100]));
        assert_eq!(heard.bytes, b"no");
    }
}
