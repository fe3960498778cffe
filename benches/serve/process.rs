//! Processes on one core, the time that they take, and their memory.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

/// A process that is killed on drop.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// Returns the CPU time of the process, in seconds.
    pub(crate) fn cpu_time(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        // After the name, which may contain spaces.
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let field = |number: usize| -> f64 {
            let field = fields.split(' ').nth(number).unwrap();
            field.parse().unwrap()
        };
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        // `utime` and `stime`, which are the 14th and 15th field.
        (field(11) + field(12)) / ticks
    }

    /// Returns the anonymous memory of the process, in megabytes.
    pub(crate) fn anonymous_memory(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"));
        let kibibytes: f64 = line
            .and_then(|line| line.trim().strip_suffix(" kB"))
            .and_then(|number| number.parse().ok())
            .expect("the kernel reports RssAnon");
        kibibytes * 1024.0 / 1e6
    }
}

/// A server that listens.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// A command that runs on the first core.
    pub(crate) fn pinned(program: &Path) -> Command {
        pinned(0, program)
    }

    /// Starts a server, and waits until it listens.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("`taskset` is installed");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let process = Process(child);
        let address = lines.by_ref().find_map(|line| {
            let line = line.unwrap();
            let (_, address) = line.split_once("Listening on http://")?;
            address.trim().parse().ok()
        });
        // The process must not wait for someone to read what else it writes.
        thread::spawn(move || lines.for_each(drop));
        Self {
            process,
            address: address.expect("the server starts"),
        }
    }
}

/// A command that runs on one core.
pub(crate) fn pinned(core: usize, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &core.to_string()]).arg(program);
    command
}
