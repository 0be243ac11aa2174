//! Runs a local command. No shell is involved: the configured program gets its configured arguments, and
//! the request as environment variables `LIMNO_…` and as one JSON object on standard input.
//!
//! The command inherits limno's environment and working folder. When its time is up it is killed; what it
//! started itself is its own to end.

use std::{
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::Child,
    time::timeout,
};

use super::{Trigger, TriggerRequest};
use crate::{
    alert::{DeliveryError, Receipt},
    config::CommandConfig,
    delivery::http,
};

/// Bytes of each output stream that are kept, from its end.
const OUTPUT_KEPT: usize = 4 * 1024;
/// Lines of standard error that an error shows.
const LINES_SHOWN: usize = 5;
/// How long output is read on after the command's end, for what a process it left behind still holds.
const DRAIN: Duration = Duration::from_millis(500);

/// A local program.
#[derive(Debug)]
pub struct Command {
    config: CommandConfig,
    program: String,
}

/// What a command left.
struct Outcome {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Command {
    /// Takes over a configuration. Nothing is started yet.
    ///
    /// # Errors
    /// An empty command.
    pub fn new(config: CommandConfig) -> Result<Self, DeliveryError> {
        match config.command.first().filter(|program| !program.is_empty()) {
            Some(program) => Ok(Self { program: program.clone(), config }),
            None => Err(DeliveryError::Invalid {
                target: format!("trigger `{}`", config.name),
                reason: "`command` names no program".to_owned(),
            }),
        }
    }

    fn error(&self, reason: String) -> DeliveryError {
        DeliveryError::Command { program: self.program.clone(), reason }
    }

    fn start(&self, request: &TriggerRequest) -> Result<Child, DeliveryError> {
        let mut command = tokio::process::Command::new(&self.program);
        command
            .args(self.config.command.iter().skip(1))
            .env("LIMNO_TOKEN", &request.token)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        for (name, value) in request.parameters() {
            // A variable cannot hold NUL; the JSON has the name as it is.
            command.env(format!("LIMNO_{}", name.to_ascii_uppercase()), value.replace('\0', "\u{fffd}"));
        }
        if request.model_id.is_none() {
            // Not one that limno itself happens to run with.
            command.env_remove("LIMNO_MODEL_ID");
        }
        command.spawn().map_err(|error| self.error(format!("cannot be started: {error}")))
    }

    /// Feeds the command, reads its output and waits for its end.
    async fn finish(&self, child: &mut Child, input: &[u8]) -> Result<Outcome, DeliveryError> {
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let status = {
            let feed = async {
                if let Some(mut stdin) = stdin {
                    // A command that does not read its input closes it: no failure.
                    stdin.write_all(input).await.ok();
                }
            };
            let talk = async {
                tokio::join!(feed, keep_tail(stdout, &mut out), keep_tail(stderr, &mut err));
            };
            tokio::pin!(talk);
            let mut is_silent = false;
            let status = loop {
                tokio::select! {
                    status = child.wait() => break status,
                    () = &mut talk, if !is_silent => is_silent = true,
                }
            };
            if !is_silent {
                timeout(DRAIN, talk).await.ok();
            }
            status
        };
        Ok(Outcome {
            status: status.map_err(|error| self.error(format!("cannot be waited for: {error}")))?,
            stdout: out,
            stderr: err,
        })
    }
}

#[async_trait]
impl Trigger for Command {
    fn name(&self) -> &str {
        &self.config.name
    }

    /// Succeeds when the command ends with status 0 in time. It is never repeated by itself.
    async fn fire(&self, request: &TriggerRequest) -> Result<Receipt, DeliveryError> {
        let mut input = request.to_json().to_string();
        input.push('\n');
        let mut child = self.start(request)?;
        let finished = timeout(self.config.timeout, self.finish(&mut child, input.as_bytes()));
        let Ok(outcome) = finished.await else {
            // An error here means that it ended by itself just now.
            child.kill().await.ok();
            return Err(self.error(format!(
                "did not end within {} and was killed",
                humantime::format_duration(self.config.timeout)
            )));
        };
        let outcome = outcome?;
        if outcome.status.success() {
            let last = last_lines(&outcome.stdout, 1);
            Ok(Receipt {
                detail: if last.is_empty() {
                    "exit status 0".to_owned()
                } else {
                    format!("exit status 0: {}", http::one_line(&last, &[]))
                },
            })
        } else {
            let said = last_lines(&outcome.stderr, LINES_SHOWN);
            let said =
                if said.is_empty() { "and nothing on standard error".to_owned() } else { format!("and said:\n{said}") };
            Err(self.error(format!("ended with {} {said}", outcome.status)))
        }
    }

    async fn check(&self) -> Result<String, DeliveryError> {
        let search = std::env::var_os("PATH").unwrap_or_default();
        match find(&self.program, std::env::split_paths(&search)) {
            Ok(path) => Ok(format!("command {} is executable", path.display())),
            Err(reason) => Err(self.error(reason.to_owned())),
        }
    }
}

/// Where a program would be started from: itself when it is a path, else the first match in `folders`.
fn find(program: &str, mut folders: impl Iterator<Item = PathBuf>) -> Result<PathBuf, &'static str> {
    let path = Path::new(program);
    if path.components().count() > 1 {
        return match (path.is_file(), is_executable(path)) {
            (_, true) => Ok(path.to_owned()),
            (true, false) => Err("is not executable"),
            (false, false) => Err("does not exist"),
        };
    }
    folders
        .find_map(|folder| Some(folder.join(program)).filter(|path| is_executable(path)))
        .ok_or("is not found on PATH")
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(path: &Path) -> bool {
    path.is_file()
}

/// Reads a stream to its end and keeps the last bytes, so that a talkative command fills no memory.
async fn keep_tail(stream: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut stream) = stream else { return };
    let mut chunk = [0; 4096];
    // A read error ends the stream as its end does: the exit status decides.
    while let Ok(read @ 1..) = stream.read(&mut chunk).await {
        kept.extend_from_slice(&chunk[..read]);
        if kept.len() > 2 * OUTPUT_KEPT {
            kept.drain(..kept.len() - OUTPUT_KEPT);
        }
    }
}

/// The last lines that are not blank, with control characters spelled out.
fn last_lines(output: &[u8], count: usize) -> String {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..]
        .iter()
        .map(|line| crate::delivery::visible(line, 200))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use crate::trigger::tests::request;

    fn command(words: &[&str], timeout: Duration) -> Command {
        Command::new(CommandConfig {
            name: "retrain".into(),
            line: 1,
            command: words.iter().map(|word| (*word).to_owned()).collect(),
            cooldown: Duration::ZERO,
            timeout,
        })
        .unwrap()
    }

    fn shell(script: &str) -> Command {
        command(&["sh", "-c", script], Duration::from_secs(60))
    }

    #[tokio::test]
    async fn a_command_gets_the_request_in_variables_and_on_standard_input() {
        let out = tempfile::NamedTempFile::new().unwrap();
        let path = out.path().to_str().unwrap();
        let script = r#"{ env | grep ^LIMNO_ | sort; cat; } > "$0"; echo started run 7"#;
        let receipt = command(&["sh", "-c", script, path], Duration::from_secs(60)).fire(&request()).await.unwrap();
        assert_eq!(receipt.detail, "exit status 0: started run 7");
        let seen = std::fs::read_to_string(path).unwrap();
        let (variables, json) = seen.split_at(seen.find('{').unwrap());
        for line in [
            "LIMNO_MONITOR=flights",
            "LIMNO_RULE=psi",
            "LIMNO_COLUMN=dep_delay",
            "LIMNO_METRIC=population_stability_index",
            "LIMNO_VALUE=0.30000000000000004",
            "LIMNO_WINDOW_START=2013-12-23T05:00:00Z",
            "LIMNO_WINDOW_END=2013-12-30T05:00:00Z",
            "LIMNO_GRANULARITY=1 week",
            "LIMNO_TABLE=/data/flights",
            "LIMNO_MODEL_ID=jan",
            &format!("LIMNO_TOKEN={}", request().token),
        ] {
            assert!(variables.lines().any(|l| l == line), "{line} is not in\n{variables}");
        }
        let json: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(json, request().to_json());
    }

    #[tokio::test]
    async fn names_from_the_data_are_arguments_of_nothing() {
        let mut request = request();
        request.column = "$(touch /nowhere); `id`\0\n".into();
        let receipt = shell(r#"printf %s "$LIMNO_COLUMN" | tr '\n' ' '"#).fire(&request).await.unwrap();
        assert_eq!(receipt.detail, "exit status 0: $(touch /nowhere); `id`\u{fffd}");
    }

    #[tokio::test]
    async fn a_command_that_reads_nothing_and_talks_much_is_fine() {
        let mut request = request();
        request.column = "x".repeat(100_000);
        let script = "exec <&-; i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done";
        let receipt = shell(script).fire(&request).await.unwrap();
        assert_eq!(receipt.detail, "exit status 0: line 19999");
    }

    #[tokio::test]
    async fn a_bad_end_shows_the_last_lines() {
        let error =
            shell("for i in 1 2 3 4 5 6 7; do echo line $i >&2; done; exit 3").fire(&request()).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "command `sh` ended with exit status: 3 and said:\nline 3\nline 4\nline 5\nline 6\nline 7"
        );
        assert!(!error.is_retryable());
    }

    #[tokio::test]
    async fn a_command_that_does_not_end_is_killed() {
        let error =
            command(&["sh", "-c", "exec sleep 1000"], Duration::from_millis(50)).fire(&request()).await.unwrap_err();
        assert_eq!(error.to_string(), "command `sh` did not end within 50ms and was killed");
    }

    #[tokio::test]
    async fn a_program_is_found_or_named() {
        let said = shell("").check().await.unwrap();
        assert!(said.ends_with("/sh is executable"), "{said}");
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        for (program, expected) in [
            ("no-such-program-of-limno", "is not found on PATH"),
            ("/no/such/program", "does not exist"),
            (path, "is not executable"),
        ] {
            let command = command(&[program], Duration::from_secs(1));
            let error = command.check().await.unwrap_err().to_string();
            assert_eq!(error, format!("command `{program}` {expected}"));
            command.fire(&request()).await.unwrap_err();
        }
    }
}
