//! `-Z`: PostgreSQL's compression specifications, judged as `src/common/compression.c` judges them.
//!
//! It decides what was asked for and whether PostgreSQL would accept it; whether we can do it is `validate`'s to say.

/// What `-Z` asks for. Levels are within the method's range, or its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip { level: i64 },
    Lz4 { level: i64 },
    Zstd { level: i64 },
}

/// Why PostgreSQL would refuse it, in its words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CompressionError {
    #[error("unrecognized compression algorithm: \"{0}\"")]
    Algorithm(String),
    #[error("invalid compression specification: {0}")]
    Specification(String),
}

/// What is to be known about a method.
struct Method {
    name: &'static str,
    /// Lowest, highest and default level; `None` where there are no levels.
    levels: Option<(i64, i64, i64)>,
    build: fn(i64) -> Compression,
}

const NONE: Method = Method { name: "none", levels: None, build: |_| Compression::None };
const GZIP: Method = Method { name: "gzip", levels: Some((1, 9, -1)), build: |level| Compression::Gzip { level } };
const LZ4: Method = Method { name: "lz4", levels: Some((1, 12, 0)), build: |level| Compression::Lz4 { level } };
const ZSTD: Method =
    Method { name: "zstd", levels: Some((-131_072, 22, 3)), build: |level| Compression::Zstd { level } };

/// The part after the colon, understood but not yet judged.
#[derive(Default)]
struct Detail {
    level: Option<i64>,
    workers: bool,
    long: bool,
}

impl Compression {
    /// Understands `METHOD[:DETAIL]`, or a bare number: 0 is none, any other a gzip level.
    pub(super) fn parse(option: &str) -> Result<Self, CompressionError> {
        let (name, detail) = match integer(option) {
            // C's strtol() makes a zero of nothing.
            None if option.is_empty() => ("none", None),
            Some(0) => ("none", None),
            Some(_) => ("gzip", Some(option)),
            None => option.split_once(':').map_or((option, None), |(name, detail)| (name, Some(detail))),
        };
        let method = [NONE, GZIP, LZ4, ZSTD]
            .into_iter()
            .find(|method| method.name == name)
            .ok_or_else(|| CompressionError::Algorithm(name.to_owned()))?;
        let detail = detail.map_or(Ok(Detail::default()), Detail::parse);
        detail.and_then(|detail| method.judge(&detail)).map_err(CompressionError::Specification)
    }
}

impl Method {
    /// PostgreSQL's `validate_compress_specification`.
    fn judge(&self, detail: &Detail) -> Result<Compression, String> {
        let name = self.name;
        let level = match self.levels {
            None if detail.level.unwrap_or(0) != 0 => {
                return Err(format!("compression algorithm \"{name}\" does not accept a compression level"));
            }
            None => 0,
            Some((lowest, highest, default)) => {
                let level = detail.level.unwrap_or(default);
                if level != default && !(lowest..=highest).contains(&level) {
                    return Err(format!(
                        "compression algorithm \"{name}\" expects a compression level between {lowest} and {highest} \
                         (default at {default})"
                    ));
                }
                level
            }
        };
        let is_zstd = name == ZSTD.name;
        if detail.workers && !is_zstd {
            return Err(format!("compression algorithm \"{name}\" does not accept a worker count"));
        }
        if detail.long && !is_zstd {
            return Err(format!("compression algorithm \"{name}\" does not support long-distance mode"));
        }
        Ok((self.build)(level))
    }
}

impl Detail {
    /// A bare number is the level; else keywords with or without values, separated by commas. PostgreSQL's
    /// `parse_compress_specification`; as there, a keyword counts by being there, whatever its value.
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(level) = integer(text) {
            return Ok(Self { level: Some(level), ..Self::default() });
        }
        let mut detail = Self::default();
        for entry in text.split(',') {
            let (keyword, value) = entry.split_once('=').map_or((entry, None), |(key, value)| (key, Some(value)));
            match keyword {
                "" => return Err("found empty string where a compression option was expected".to_owned()),
                "level" => detail.level = Some(expect_integer(keyword, value)?),
                "workers" => {
                    expect_integer(keyword, value)?;
                    detail.workers = true;
                }
                "long" => {
                    expect_boolean(keyword, value)?;
                    detail.long = true;
                }
                _ => return Err(format!("unrecognized compression option: \"{keyword}\"")),
            }
        }
        Ok(detail)
    }
}

fn expect_integer(keyword: &str, value: Option<&str>) -> Result<i64, String> {
    let value = value.ok_or_else(|| format!("compression option \"{keyword}\" requires a value"))?;
    integer(value).ok_or_else(|| format!("value for compression option \"{keyword}\" must be an integer"))
}

fn expect_boolean(keyword: &str, value: Option<&str>) -> Result<(), String> {
    let words = ["yes", "on", "1", "no", "off", "0"];
    match value {
        Some(value) if !words.iter().any(|word| value.eq_ignore_ascii_case(word)) => {
            Err(format!("value for compression option \"{keyword}\" must be a Boolean value"))
        }
        _ => Ok(()),
    }
}

/// C's `strtol` on a whole string: leading white space and a sign are fine. A number that is too large stays too large
/// (there it becomes -1, which gzip takes for its default).
fn integer(text: &str) -> Option<i64> {
    let text = text.trim_ascii_start();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(if text.starts_with('-') { i64::MIN } else { i64::MAX }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_postgresql_accepts_is_accepted() {
        let check = |option: &str, expected| assert_eq!(Compression::parse(option), Ok(expected), "{option:?}");
        for none in ["none", "none:0", "none:level=0", "0", "00", "-0", "", " 0"] {
            check(none, Compression::None);
        }
        check("gzip", Compression::Gzip { level: -1 });
        check("-1", Compression::Gzip { level: -1 });
        check("5", Compression::Gzip { level: 5 });
        check(" +5", Compression::Gzip { level: 5 });
        check("gzip:9", Compression::Gzip { level: 9 });
        check("gzip:level=1,level=2", Compression::Gzip { level: 2 });
        check("lz4", Compression::Lz4 { level: 0 });
        check("lz4:0", Compression::Lz4 { level: 0 });
        check("lz4:level=12", Compression::Lz4 { level: 12 });
        check("zstd", Compression::Zstd { level: 3 });
        check("zstd:-131072", Compression::Zstd { level: -131_072 });
        check("zstd:level=22,workers=4,long", Compression::Zstd { level: 22 });
        check("zstd:long=OFF,workers=-1", Compression::Zstd { level: 3 });
    }

    #[test]
    fn what_postgresql_refuses_is_refused_in_its_words() {
        let check = |option: &str, expected: &str| {
            assert_eq!(Compression::parse(option).unwrap_err().to_string(), expected, "{option:?}");
        };
        check("GZIP", "unrecognized compression algorithm: \"GZIP\"");
        check("1x", "unrecognized compression algorithm: \"1x\"");
        check(":1", "unrecognized compression algorithm: \"\"");
        check(" ", "unrecognized compression algorithm: \" \"");

        let check = |option: &str, detail: &str| check(option, &format!("invalid compression specification: {detail}"));
        let empty = "found empty string where a compression option was expected";
        for option in ["gzip:", "none:", "gzip:level=1,", "gzip:,level=1", "gzip:=1"] {
            check(option, empty);
        }
        check("gzip:foo", "unrecognized compression option: \"foo\"");
        check("gzip: level=1", "unrecognized compression option: \" level\"");
        check("gzip:1x", "unrecognized compression option: \"1x\"");
        check("gzip:level", "compression option \"level\" requires a value");
        check("zstd:workers", "compression option \"workers\" requires a value");
        check("gzip:level=", "value for compression option \"level\" must be an integer");
        check("gzip:level=1x", "value for compression option \"level\" must be an integer");
        check("zstd:workers=many", "value for compression option \"workers\" must be an integer");
        check("zstd:long=maybe", "value for compression option \"long\" must be a Boolean value");
        check("none:1", "compression algorithm \"none\" does not accept a compression level");
        let gzip = "compression algorithm \"gzip\" expects a compression level between 1 and 9 (default at -1)";
        for option in ["10", "-2", "gzip:0", "gzip:99999999999999999999", "-99999999999999999999"] {
            check(option, gzip);
        }
        check("lz4:13", "compression algorithm \"lz4\" expects a compression level between 1 and 12 (default at 0)");
        check(
            "zstd:23",
            "compression algorithm \"zstd\" expects a compression level between -131072 and 22 (default at 3)",
        );
        check("gzip:workers=0", "compression algorithm \"gzip\" does not accept a worker count");
        check("lz4:long", "compression algorithm \"lz4\" does not support long-distance mode");
        check("none:long=no", "compression algorithm \"none\" does not support long-distance mode");
    }

    proptest! {
        #[test]
        fn any_specification_is_accepted_or_refused(option in "(none|gzip|lz4|zstd)?:?[a-z0-9=,: +-]{0,20}") {
            let _ = Compression::parse(&option);
        }
    }
}
