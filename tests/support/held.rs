//! A container that one process makes and another one starts. `sandbox` has this only as a library: the process that makes
//! it is a copy of the test program, in which no other thread runs.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, exit};

use sandbox::config::complete::Completed;
use sandbox::config::compose::Ending;
use sandbox::config::spec::yaml;
use sandbox::exec::{self, Unwatched};
use sandbox::feature::Purpose;
use sandbox::plan::{Frame, Hold, Plan, Streams};

/// What the copy gets: the spec, and the FIFO at which the command waits.
const SPEC: &str = "HOLD_SPEC";
const FIFO: &str = "HOLD_FIFO";
/// Set if the command has pipes of the copy.
pub const PIPES: &str = "HOLD_PIPES";
/// Set if the copy stays until the end of its standard input, and the container ends with it.
pub const STAYS: &str = "HOLD_STAYS";
/// Set if the copy only prints the plan, as JSON.
pub const DRY: &str = "HOLD_DRY";

/// The name of the test that calls [`make`]. Each file that uses this has one, because a test is how a copy gets there.
pub const MAKER: &str = "another_process";

/// The arguments of the copy. Others may follow.
pub const ARGUMENTS: [&str; 6] = ["--exact", "--test-threads=1", "--nocapture", "-q", "--", MAKER];

/// Tells a copy what to make.
pub fn tell(maker: &mut Command, spec: &str, fifo: &Path) {
    maker.env(SPEC, spec).env(FIFO, fifo);
}

/// Starts the command, if it waits.
pub fn release(fifo: &Path) {
    // ENXIO: no process has the FIFO open.
    let fifo = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(fifo);
    let _ = fifo.map(|mut fifo| fifo.write_all(b"."));
}

/// Makes a container if this process is such a copy. Then it prints `pid PID`, and ends.
pub fn make() {
    let (Ok(spec), Some(fifo)) = (std::env::var(SPEC), std::env::var_os(FIFO)) else { return };
    // A tracer finds the first call of the library by this one.
    std::thread::yield_now();
    let plan = plan(&spec, &fifo);
    let made = match () {
        () if is_set(DRY) => {
            println!("\n{}", serde_json::to_string(&plan).unwrap());
            exit(0);
        }
        () if is_set(PIPES) => talk(&plan),
        () => exec::create(&plan, &mut Unwatched).map(|container| {
            if let Err(error) = writeln!(std::io::stdout(), "\npid {}", container.pid()) {
                drop(container);
                eprintln!("\nsandbox: cannot print the PID: write: {error}");
                exit(125);
            }
            if is_set(STAYS) {
                let _ = std::io::stdin().read_to_end(&mut Vec::new());
                drop(container);
            } else {
                container.leave();
            }
        }),
    };
    exit(match made {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("\nsandbox: {error}: {:?}", error.why);
            error.kind.status().into()
        }
    });
}

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some()
}

fn plan(spec: &str, fifo: &OsStr) -> Plan {
    let spec = yaml::read(spec, "spec").unwrap();
    let streams = if is_set(PIPES) { Streams::Pipes } else { Streams::Inherited };
    let frame = Frame {
        parent_death_signal: is_set(STAYS) || streams == Streams::Pipes,
        relay: false,
        journal: is_set(STAYS),
        ends_orphans: true,
        hold: if fifo.is_empty() { Hold::Gate } else { Hold::Fifo(fifo.into()) },
        streams,
    };
    let ending = Ending::Command { path: spec.command[0].clone().into(), arguments: spec.command.clone() };
    Completed::of(&spec, Purpose::Container).plan_within(frame, ending, false)
}

/// Writes to the command, and prints its status and what it has written.
fn talk(plan: &Plan) -> sandbox::error::Result<()> {
    let mut container = exec::start(plan, &mut Unwatched)?;
    let pipes = container.take_pipes().unwrap();
    assert!(container.take_pipes().is_none());
    let (mut input, mut output) = (File::from(pipes.stdin.unwrap()), File::from(pipes.stdout));
    input.write_all(b"given\n").unwrap();
    drop(input);
    let mut shown = String::new();
    output.read_to_string(&mut shown).unwrap();
    File::from(pipes.stderr).read_to_string(&mut shown).unwrap();
    let ended = container.wait(&mut Unwatched)?;
    println!("\nstatus {}\n{shown}", ended.status());
    Ok(())
}
