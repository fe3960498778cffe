//! Processes of this program, which are told what to do and answer by lines.

use std::{
    env,
    process::{ExitStatus, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

const PART: &str = "FLEET_PART";

/// Which part this process plays, if it was started to play one.
pub(crate) fn part() -> Option<String> {
    env::var(PART).ok()
}

/// The time on the clock that all processes of this machine share, in nanoseconds.
#[expect(
    clippy::disallowed_methods,
    reason = "processes have no clock in common but the system's"
)]
pub(crate) fn nanoseconds() -> u128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_nanos()
}

pub(crate) struct Process {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    pub(crate) fn start(part: &str, environment: &[(&str, String)]) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .env(PART, part)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
        }
    }

    pub(crate) async fn tell(&mut self, line: &str) {
        let line = format!("{line}\n");
        self.input.write_all(line.as_bytes()).await.unwrap();
    }

    pub(crate) async fn hear(&mut self) -> String {
        let line = self.output.next_line().await.unwrap();
        line.expect("the process goes on")
    }

    /// Ends the process's input, by which it ends in order.
    pub(crate) async fn finish(mut self) -> ExitStatus {
        drop(self.input);
        self.child.wait().await.unwrap()
    }
}
