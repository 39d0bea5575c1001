//! Messages from the client, decoded where they lie.
//!
//! pgwire's decoders read past the body of a malformed message (or panic), so this is our own
//! decoder: it only ever sees the body of one frame, checks every length against what is left of it,
//! and allocates nothing. Names, texts and parameters borrow from the frame.
//!
//! It does not judge: whether a statement exists or a format code is known is the connection's
//! business. <https://www.postgresql.org/docs/15/protocol-message-formats.html>

/// A message whose frame was intact and whose body was not: `ERROR` 08P01 or 22021, as PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// A length or count points beyond the end of the body.
    Truncated,
    /// Bytes are left after everything that belongs to the message.
    TrailingBytes,
    /// A text without its final zero byte.
    UnterminatedString,
    /// A text that is not UTF-8, the only encoding spoken; its first wrong bytes.
    NotUtf8(Vec<u8>),
    /// A field with a value that has no meaning.
    BadField(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Statement,
    Portal,
}

#[derive(Debug)]
pub enum Message<'a> {
    Query(&'a str),
    Parse {
        name: &'a str,
        sql: &'a str,
        types: Oids<'a>,
    },
    Bind(Bind<'a>),
    Describe {
        target: Target,
        name: &'a str,
    },
    /// `rows_max` of zero or less means all.
    Execute {
        portal: &'a str,
        rows_max: i32,
    },
    Close {
        target: Target,
        name: &'a str,
    },
    Flush,
    Sync,
    CopyData,
    CopyDone,
    CopyFail(&'a str),
    FunctionCall,
    Password,
    Terminate,
}

#[derive(Debug)]
pub struct Bind<'a> {
    pub portal: &'a str,
    pub statement: &'a str,
    pub parameter_formats: Formats<'a>,
    pub result_formats: Formats<'a>,
    parameter_count: u16,
    parameters: &'a [u8],
}

impl<'a> Bind<'a> {
    pub fn parameter_count(&self) -> usize {
        usize::from(self.parameter_count)
    }

    /// The parameters in order, `None` for NULL. Their lengths were checked by `decode`.
    pub fn parameters(&self) -> impl Iterator<Item = Option<&'a [u8]>> + use<'a> {
        let mut body = Body { rest: self.parameters };
        (0..self.parameter_count).map_while(move |_| body.value().ok())
    }
}

/// Format codes of Bind: none (all text), one for all, or one each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Formats<'a>(&'a [u8]);

impl Formats<'_> {
    pub const TEXT: Formats<'static> = Formats(&[]);

    /// From [`Formats::as_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Formats<'_> {
        Formats(bytes)
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0
    }

    pub fn count(&self) -> usize {
        self.0.len() / 2
    }

    /// The codes as they were sent; `decode` has refused all but 0 and 1.
    pub fn iter(&self) -> impl Iterator<Item = i16> + '_ {
        self.0.chunks_exact(2).map(|code| i16::from_be_bytes([code[0], code[1]]))
    }

    /// Whether value `index` is (to be) in binary form.
    pub fn is_binary(&self, index: usize) -> bool {
        let at = if self.count() == 1 { 0 } else { index * 2 };
        self.0.get(at + 1) == Some(&1)
    }
}

/// Type oids of Parse.
#[derive(Clone, Copy, Debug)]
pub struct Oids<'a>(&'a [u8]);

impl Oids<'_> {
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.chunks_exact(4).map(|oid| u32::from_be_bytes([oid[0], oid[1], oid[2], oid[3]]))
    }
}

/// The longest body for a message type; `None` for a type that no client sends.
pub fn body_bytes_max(tag: u8, message_bytes_max: usize) -> Option<usize> {
    /// What PostgreSQL allows for messages that carry no data of the user's.
    const SMALL: usize = 10_000;
    const PASSWORD: usize = 65_535;
    match tag {
        b'Q' | b'P' | b'B' | b'd' | b'F' => Some(message_bytes_max),
        b'D' | b'E' | b'C' | b'H' | b'S' | b'c' | b'f' | b'X' => Some(SMALL.min(message_bytes_max)),
        b'p' => Some(PASSWORD.min(message_bytes_max)),
        _ => None,
    }
}

/// Decodes the body of one frame whose `tag` passed [`body_bytes_max`].
pub fn decode(tag: u8, body: &[u8]) -> Result<Message<'_>, Malformed> {
    let mut body = Body { rest: body };
    let message = match tag {
        b'Q' => Message::Query(body.string()?),
        b'P' => {
            let name = body.string()?;
            let sql = body.string()?;
            let count = usize::from(body.u16()?);
            Message::Parse { name, sql, types: Oids(body.bytes(count * 4)?) }
        }
        b'B' => Message::Bind(bind(&mut body)?),
        b'D' => Message::Describe { target: target(&mut body)?, name: body.string()? },
        b'C' => Message::Close { target: target(&mut body)?, name: body.string()? },
        b'E' => Message::Execute { portal: body.string()?, rows_max: body.i32()? },
        b'H' => Message::Flush,
        b'S' => Message::Sync,
        b'c' => Message::CopyDone,
        b'f' => Message::CopyFail(body.string()?),
        b'X' => Message::Terminate,
        // Their bodies are taken whole, by those who expect them.
        b'd' => return Ok(Message::CopyData),
        b'p' => return Ok(Message::Password),
        b'F' => return Ok(Message::FunctionCall),
        _ => return Err(Malformed::BadField("message type")),
    };
    if body.rest.is_empty() { Ok(message) } else { Err(Malformed::TrailingBytes) }
}

fn target(body: &mut Body<'_>) -> Result<Target, Malformed> {
    match body.bytes(1)?[0] {
        b'S' => Ok(Target::Statement),
        b'P' => Ok(Target::Portal),
        _ => Err(Malformed::BadField("statement or portal")),
    }
}

fn bind<'a>(body: &mut Body<'a>) -> Result<Bind<'a>, Malformed> {
    let portal = body.string()?;
    let statement = body.string()?;
    let parameter_formats = formats(body)?;
    let parameter_count = body.u16()?;
    let parameters = body.rest;
    for _ in 0..parameter_count {
        body.value()?;
    }
    let parameters = &parameters[..parameters.len() - body.rest.len()];
    let result_formats = formats(body)?;
    Ok(Bind { portal, statement, parameter_formats, result_formats, parameter_count, parameters })
}

fn formats<'a>(body: &mut Body<'a>) -> Result<Formats<'a>, Malformed> {
    let count = usize::from(body.u16()?);
    let formats = Formats(body.bytes(count * 2)?);
    if formats.iter().any(|code| code != 0 && code != 1) {
        return Err(Malformed::BadField("format code"));
    }
    Ok(formats)
}

/// What is left of a frame's body.
#[derive(Clone, Copy)]
pub struct Body<'a> {
    pub rest: &'a [u8],
}

impl<'a> Body<'a> {
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    pub fn string(&mut self) -> Result<&'a str, Malformed> {
        let end =
            self.rest.iter().position(|byte| *byte == 0).ok_or(Malformed::UnterminatedString)?;
        let bytes = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        std::str::from_utf8(bytes).map_err(|error| {
            let wrong = &bytes[error.valid_up_to()..];
            let shown = error.error_len().unwrap_or(wrong.len()).clamp(1, 4);
            Malformed::NotUtf8(wrong[..shown.min(wrong.len())].to_vec())
        })
    }

    pub fn u16(&mut self) -> Result<u16, Malformed> {
        let bytes = self.bytes(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    pub fn i32(&mut self) -> Result<i32, Malformed> {
        let bytes = self.bytes(4)?;
        Ok(i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A length and that many bytes; -1 is NULL.
    pub fn value(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self.i32()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| Malformed::Truncated)?;
                self.bytes(length).map(Some)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    const TAGS: &[u8] = b"QPBDECHSdcfpFX";

    fn bind_body() -> Vec<u8> {
        let mut body = b"portal\0statement\0".to_vec();
        body.extend([0, 1, 0, 1]); // one parameter format: binary
        body.extend([0, 3]);
        body.extend([0, 0, 0, 4, 0, 0, 0, 7]);
        body.extend([255, 255, 255, 255]);
        body.extend([0, 0, 0, 0]);
        body.extend([0, 2, 0, 0, 0, 1]); // text, binary
        body
    }

    #[test]
    fn bind_hands_out_parameters_and_formats() {
        let body = bind_body();
        let Message::Bind(bind) = decode(b'B', &body).expect("well formed") else {
            panic!("not a Bind")
        };
        assert_eq!((bind.portal, bind.statement), ("portal", "statement"));
        let parameters: Vec<_> = bind.parameters().collect();
        assert_eq!(parameters, [Some(&[0, 0, 0, 7][..]), None, Some(&[][..])]);
        assert!((0..3).all(|index| bind.parameter_formats.is_binary(index)));
        assert!(!bind.result_formats.is_binary(0));
        assert!(bind.result_formats.is_binary(1));
        assert!(!bind.result_formats.is_binary(2));
        assert!(!Formats::TEXT.is_binary(0));
    }

    #[test]
    fn every_truncation_is_refused() {
        let samples: [(u8, &[u8]); 6] = [
            (b'Q', b"select 1\0"),
            (b'P', b"name\0select $1\0\0\x01\0\0\0\x17"),
            (b'B', &bind_body()),
            (b'D', b"Sname\0"),
            (b'E', b"\0\0\0\0\x05"),
            (b'f', b"no more\0"),
        ];
        for (tag, body) in samples {
            decode(tag, body).expect("the whole message is well formed");
            for length in 0..body.len() {
                assert!(decode(tag, &body[..length]).is_err(), "{} cut at {length}", tag as char);
            }
            let longer = [body, b"x"].concat();
            assert_eq!(decode(tag, &longer).err(), Some(Malformed::TrailingBytes));
        }
    }

    #[test]
    fn negative_and_huge_counts_are_refused() {
        // A parameter of length -2, one of 2 GiB, and 65,535 parameters that are not there.
        for parameters in [&b"\0\x01\xff\xff\xff\xfe"[..], b"\0\x01\x7f\xff\xff\xff", b"\xff\xff"] {
            let body = [b"\0\0\0\0", parameters].concat();
            assert_eq!(decode(b'B', &body).err(), Some(Malformed::Truncated));
        }
        let body = b"\0\0\0\x01\0\x07\0\0\0\0";
        assert_eq!(decode(b'B', body).err(), Some(Malformed::BadField("format code")));
        let body = b"select '\xff\xfe'\0";
        assert_eq!(decode(b'Q', body).err(), Some(Malformed::NotUtf8(vec![0xff])));
    }

    /// Random bodies, and random damage to a good one, for every tag: an answer, never a panic.
    #[test]
    fn random_bytes_never_panic() {
        let seed = 20_261_123;
        let mut random = SmallRng::seed_from_u64(seed);
        let good = bind_body();
        for _ in 0..200_000 {
            let tag = TAGS[random.random_range(0..TAGS.len())];
            let mut body: Vec<u8> = if random.random_bool(0.5) {
                let length = random.random_range(0..64);
                (0..length).map(|_| random.random_range(0..4) as u8 * 85).collect()
            } else {
                good.clone()
            };
            for _ in 0..random.random_range(0..4) {
                if !body.is_empty() {
                    let at = random.random_range(0..body.len());
                    body[at] = random.random();
                }
            }
            body.truncate(random.random_range(0..=body.len()));
            if let Ok(Message::Bind(bind)) = decode(tag, &body) {
                assert_eq!(bind.parameters().count(), bind.parameter_count(), "seed {seed}");
            }
        }
    }
}
