//! `cargo xtask demo`: its options.

use super::{Failure, interruption};
use anyhow::Result;
use harness::demo::screen::Screen;
use harness::demo::{self, Options};
use std::io::{self, IsTerminal};
use std::time::Duration;

pub(super) fn run(args: &[String]) -> Result<(), Failure> {
    let options = parse(args).map_err(Failure::Usage)?;
    // The story blocks its thread at times: signals have another.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(runtime.block_on(play(&options))?)
}

async fn play(options: &Options) -> Result<()> {
    let mut screen = if io::stdout().is_terminal() { Screen::terminal() } else { Screen::lines(io::stdout()) };
    screen
        .say("\nA PostgreSQL server under load loses everything.\nwal-agent must not lose one acknowledged commit.\n");
    let ending = demo::run(options, &mut screen, interruption()?).await?;
    screen.say(format_args!("\n{}", ending.proof));
    screen.say("Nothing was lost: the recovered server has every commit that was acknowledged.");
    if let Some(kept) = ending.kept {
        screen.say(kept);
    }
    Ok(())
}

fn parse(args: &[String]) -> Result<Options, String> {
    let mut options = Options::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let (name, value) = arg.split_once('=').map_or((arg.as_str(), None), |(name, value)| (name, Some(value)));
        let mut number = |range: std::ops::RangeInclusive<u32>| {
            let value = value.or_else(|| args.next().map(String::as_str)).unwrap_or_default();
            let parsed = value.parse().ok().filter(|number| range.contains(number));
            parsed.ok_or_else(|| format!("{name} needs a number from {} to {}", range.start(), range.end()))
        };
        match name {
            "--seconds" => options.load = Duration::from_secs(number(1..=3600)?.into()),
            "--clients" => options.clients = number(1..=50)?,
            "--postgres" => options.major = Some(number(13..=18)?),
            "--keep" if value.is_none() => options.keep = true,
            _ => return Err(format!("unknown option {arg:?}")),
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &str) -> Result<(u64, u32, Option<u32>, bool), String> {
        let args: Vec<String> = args.split_whitespace().map(Into::into).collect();
        parse(&args).map(|options| (options.load.as_secs(), options.clients, options.major, options.keep))
    }

    #[test]
    fn options_are_understood_in_both_forms() {
        assert_eq!(parsed(""), Ok((20, 8, None, false)));
        assert_eq!(parsed("--seconds 3 --clients=2 --postgres 13 --keep"), Ok((3, 2, Some(13), true)));
    }

    #[test]
    fn what_is_no_option_is_said_in_one_sentence() {
        let check = |args, expected: &str| assert_eq!(parsed(args).unwrap_err(), expected);
        check("--seconds", "--seconds needs a number from 1 to 3600");
        check("--seconds 0", "--seconds needs a number from 1 to 3600");
        check("--clients=x", "--clients needs a number from 1 to 50");
        check("--postgres 12", "--postgres needs a number from 13 to 18");
        check("--keep=yes", "unknown option \"--keep=yes\"");
        check("later", "unknown option \"later\"");
    }
}
