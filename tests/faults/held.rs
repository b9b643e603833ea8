//! A container that one process makes and another one starts. The process that makes it is a copy of this program, which calls
//! the library.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Command;

use nix::libc;
use sandbox::config::complete::Completed;
use sandbox::config::compose::Ending;
use sandbox::config::spec::yaml;
use sandbox::exec::{self, Unwatched};
use sandbox::feature::Purpose;
use sandbox::plan::{Frame, Hold, Streams};

/// What the copy is told.
const SPEC: &str = "HELD_SPEC";
const FIFO: &str = "HELD_FIFO";
/// Set if the copy releases the command itself, and waits for its end.
const STAYS: &str = "HELD_STAYS";

/// The name of the test that makes the container.
const MAKER: &str = "held::maker";

/// The arguments of the copy. Those of the command follow them.
pub(crate) const ARGUMENTS: [&str; 6] = ["--exact", "--test-threads=1", "--nocapture", "-q", "--", MAKER];

/// How a command is made and released.
pub(crate) struct Held {
    pub(crate) fifo: PathBuf,
    pub(crate) spec: String,
}

impl Held {
    pub(crate) fn set(&self, maker: &mut Command) {
        maker.env(FIFO, &self.fifo).env(SPEC, &self.spec);
    }

    /// Starts the command, if it waits.
    pub(crate) fn release(&self) {
        let fifo = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&self.fifo);
        // ENXIO: no process has the FIFO open.
        let _ = fifo.map(|mut fifo| fifo.write_all(b"."));
    }
}

/// Lets the copy release the command itself: a process that is killed has made only what belongs to it.
pub(crate) fn stay(maker: &mut Command) {
    maker.env(STAYS, "1");
}

/// It is no test: it makes the container.
#[test]
fn maker() {
    let (Some(fifo), Ok(spec)) = (std::env::var_os(FIFO), std::env::var(SPEC)) else { return };
    let stays = std::env::var_os(STAYS).is_some();
    let arguments: Vec<String> = std::env::args().skip_while(|word| word != MAKER).skip(1).collect();
    let held = Held { fifo: fifo.into(), spec };
    // The calls that follow are those of the library.
    std::thread::yield_now();
    let spec = yaml::read(&format!("{}command: [{}]\n", held.spec, arguments.join(", ")), "spec").unwrap();
    let frame = Frame {
        parent_death_signal: stays,
        relay: false,
        journal: stays,
        ends_orphans: true,
        hold: Hold::Fifo(held.fifo.clone()),
        streams: Streams::Inherited,
    };
    let path = format!("/bin/{}", arguments[0]);
    let ending =
        Ending::Command { path: path.into(), arguments: arguments.into_iter().map(Into::into).collect() };
    let plan = Completed::of(&spec, Purpose::Container).plan_within(frame, ending, false);
    let ended = exec::create(&plan, &mut Unwatched).and_then(|mut container| {
        if !stays {
            container.leave();
            return Ok(0);
        }
        held.release();
        container.wait(&mut Unwatched).map(|ended| ended.status())
    });
    let status = ended.unwrap_or_else(|error| {
        eprintln!("sandbox: {error}: {:?}", error.why);
        error.kind.status()
    });
    std::process::exit(status.into());
}
