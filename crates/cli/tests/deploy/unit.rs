//! The unit for systemd, and the configuration that it names.

use std::{
    fs,
    io::Read,
    os::unix::{
        fs::{PermissionsExt, chown},
        net::UnixDatagram,
        process::CommandExt,
    },
    path::Path,
    process::Command,
    time::Duration,
};

use tempfile::TempDir;

use crate::{PROGRAM, deployed, service::Service};

/// The highest exposure, in tenths, that `systemd-analyze security` may find.
const EXPOSURE: &str = "15";

/// A user without rights, as a dynamic one.
const NOBODY: u32 = 65_534;

fn unit() -> String {
    fs::read_to_string(deployed("api-tokens.service")).unwrap()
}

/// Returns the values of a setting.
fn values<'u>(unit: &'u str, name: &str) -> Vec<&'u str> {
    let lines = unit.lines().filter_map(|line| line.split_once('='));
    lines
        .filter(|(found, _)| *found == name)
        .map(|(_, value)| value)
        .collect()
}

pub(crate) fn the_unit_is_valid_and_hardened() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("api-tokens.service");
    let installed = unit().replace("/usr/local/bin/api-tokens", PROGRAM);
    fs::write(&path, installed).unwrap();
    let analyze = |arguments: &[&str]| {
        let run = Command::new("systemd-analyze")
            .args(arguments)
            .arg(&path)
            .output();
        let run = run.unwrap();
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(
            run.status.success(),
            "{arguments:?}: {said}\n{}",
            String::from_utf8_lossy(&run.stdout)
        );
        said
    };
    assert_eq!(analyze(&["verify"]), "", "no warning");
    analyze(&[
        "security",
        "--offline=true",
        &format!("--threshold={EXPOSURE}"),
    ]);
}

pub(crate) fn the_example_of_a_configuration_is_valid() {
    let check = |path: &Path| {
        let run = Command::new(PROGRAM)
            .args([
                "serve",
                "--check",
                "--store",
                "sqlite://tokens.db",
                "--config",
            ])
            .arg(path)
            .env_clear()
            .output()
            .unwrap();
        assert!(
            run.status.success(),
            "{}",
            String::from_utf8_lossy(&run.stderr)
        );
    };
    let example = deployed("api-tokens.toml");
    check(&example);
    // Also with what each paragraph suggests.
    let directory = TempDir::new().unwrap();
    let (path, primary) = (
        directory.path().join("more.toml"),
        directory.path().join("primary-url"),
    );
    fs::write(&primary, "postgres://edge@db.internal/platform\n").unwrap();
    fs::set_permissions(&primary, fs::Permissions::from_mode(0o600)).unwrap();
    let text = fs::read_to_string(example).unwrap();
    let mut suggestions = 0;
    for paragraph in text.split("\n\n") {
        let lines = paragraph.lines().filter_map(|line| line.strip_prefix("# "));
        let suggested: Vec<_> = lines.filter(|line| line.contains(" = ")).collect();
        suggestions += suggested.len();
        let suggested = suggested.join("\n");
        let suggested = suggested.replace(
            "/etc/api-tokens/primary-url",
            &primary.display().to_string(),
        );
        fs::write(&path, format!("{text}\n{suggested}")).unwrap();
        check(&path);
    }
    assert_eq!(suggestions, 16);
}

/// The directories of the service.
struct Directories {
    root: TempDir,
}

impl Directories {
    fn new() -> Self {
        let root = TempDir::new().unwrap();
        for (name, mode) in [
            ("etc", 0o755),
            ("state", 0o700),
            ("run", 0o755),
            ("credentials", 0o755),
            ("bin", 0o755),
        ] {
            let path = root.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { root }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.root.path().join(name)
    }

    /// Replaces what systemd and the installation put in place.
    fn expand(&self, text: &str) -> String {
        let root = self.root.path().display();
        text.replace("%d", &format!("{root}/credentials"))
            .replace("%S/api-tokens", &format!("{root}/state"))
            .replace("/run/api-tokens", &format!("{root}/run"))
            .replace("/etc/api-tokens", &format!("{root}/etc"))
            .replace("/usr/local/bin", &format!("{root}/bin"))
    }
}

pub(crate) fn the_command_that_the_guide_checks_the_configuration_with_works() {
    let directories = Directories::new();
    fs::copy(PROGRAM, directories.path("bin/api-tokens")).unwrap();
    fs::copy(
        deployed("api-tokens.toml"),
        directories.path("etc/api-tokens.toml"),
    )
    .unwrap();
    let url = directories.path("etc/store-url");
    fs::write(&url, "postgres://tokens:PASSWORD@db.internal/tokens\n").unwrap();
    fs::set_permissions(&url, fs::Permissions::from_mode(0o600)).unwrap();
    let guide = include_str!("../../../../docs/operate.md");
    let find = |text: &'static str, before: &str| {
        let commands = text.lines().filter_map(|line| line.strip_prefix(before));
        let mut commands = commands.filter(|line| line.contains("serve --check"));
        commands.next().expect("it names the command")
    };
    let command = find(guide, "# ");
    let example = include_str!("../../../../deploy/api-tokens.toml");
    assert_eq!(find(example, "#   "), command);
    let run = Command::new("/bin/sh")
        .args(["-c", &directories.expand(command)])
        .env_clear()
        .env("PATH", directories.path("bin"))
        .output()
        .unwrap();
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    assert_eq!(run.stdout, b"The configuration is valid.\n");
}

pub(crate) fn the_command_of_the_unit_runs_in_its_directories() {
    let directories = Directories::new();
    fs::copy(PROGRAM, directories.path("bin/api-tokens")).unwrap();
    let config = fs::read_to_string(deployed("api-tokens.toml")).unwrap();
    // Ports that are free, and the socket of the guide.
    let config = config
        .replace(
            "\"127.0.0.1:8080\"",
            "[\"127.0.0.1:0\", \"unix:/run/api-tokens/socket\"]\nunix-socket-mode = \"660\"",
        )
        .replace(":9090", ":0");
    let config = directories.expand(&config);
    fs::write(directories.path("etc/api-tokens.toml"), config).unwrap();
    let url = directories.expand("sqlite://%S/api-tokens/tokens.db");
    let credential = directories.path("credentials/store-url");
    fs::write(&credential, url).unwrap();
    let is_root = rustix::process::geteuid().is_root();
    // As systemd does it: the group, or an access list, lets the service read the credential of root.
    fs::set_permissions(
        &credential,
        fs::Permissions::from_mode(if is_root { 0o440 } else { 0o400 }),
    )
    .unwrap();
    if is_root {
        chown(&credential, Some(0), Some(NOBODY)).unwrap();
        for owned in ["state", "run"] {
            chown(directories.path(owned), Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
    let socket = UnixDatagram::bind(directories.path("notify")).unwrap();
    fs::set_permissions(
        directories.path("notify"),
        fs::Permissions::from_mode(0o777),
    )
    .unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let next = || {
        let mut state = [0; 64];
        let len = socket.recv(&mut state).unwrap();
        String::from_utf8_lossy(&state[..len]).into_owned()
    };

    let unit = directories.expand(&unit());
    let [command] = values(&unit, "ExecStart")[..] else {
        panic!("one command: {unit}");
    };
    let [directory] = values(&unit, "WorkingDirectory")[..] else {
        panic!("one directory: {unit}");
    };
    let mut words = command.split(' ');
    // The mask has to be set by a shell.
    let mut service = Command::new("sh");
    service
        .args(["-c", "umask \"$0\" && exec \"$@\""])
        .arg(values(&unit, "UMask")[0])
        .args(&mut words)
        .current_dir(directory)
        .env_clear()
        .env("NOTIFY_SOCKET", directories.path("notify"))
        .envs(
            values(&unit, "Environment")
                .iter()
                .map(|one| one.split_once('=').unwrap()),
        );
    if is_root {
        service.uid(NOBODY).gid(NOBODY);
    }
    let mut service = Service::start(&mut service);
    assert_eq!(next(), "READY=1");
    let mode = |name: &str| {
        let metadata = fs::metadata(directories.path(name)).unwrap();
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode("state/api-tokens-admin-token"), 0o600);
    assert_eq!(mode("state/tokens.db"), 0o600);
    assert_eq!(values(&unit, "RuntimeDirectory"), ["api-tokens"]);
    assert_eq!(mode("run/socket"), 0o660);

    service.terminate();
    assert_eq!(next(), "STOPPING=1");
    // The second signal ends the wait for load balancers.
    service.terminate();
    assert!(service.process.wait().unwrap().success());
    let mut log = String::new();
    service.log.read_to_string(&mut log).unwrap();
    assert!(
        log.contains("Wrote the first administrator's token to `api-tokens-admin-token`"),
        "{log}"
    );
}
