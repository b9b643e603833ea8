//! `sandbox run --without KEY`: shows what the key isolates. The same files are read in the whole container and in a
//! container without the key. The differences are what becomes visible again.

use super::output::OutputArgs;
use super::prepare;
use crate::config::compose::Ending;
use crate::config::spec::Spec;
use crate::error::Result;
use crate::exec::Unwatched;
use crate::feature::Purpose;
use crate::render;
use crate::teach::agent::Agent;
use crate::text::text_with;
use crate::views::{OnePath, returned};
use crate::views::{Readings, look};

/// Reads the files in both containers, and prints the differences. If one of the containers cannot be started here,
/// prints that; the run itself may still be possible.
pub(super) fn print(whole: &Spec, less: &Spec, keys: &[String], output: &OutputArgs) {
    let name = keys.join(", ");
    let text = match rows(whole, less, keys) {
        Ok(rows) if output.is_json() => return render::print_json(render::json_stream(), &rows),
        Ok(rows) => render::view::returned(&rows, &name),
        Err(error) => {
            let values = [("key", name.as_str()), ("why", &error.what)];
            format!("sandbox: {}\n", text_with("run.returned.cannot", &values))
        }
    };
    render::err(&text);
}

fn rows(whole: &Spec, less: &Spec, keys: &[String]) -> Result<Vec<OnePath>> {
    let outside = look(Purpose::Container);
    let (with, without) = (look_inside(whole)?, look_inside(less)?);
    Ok(returned(&outside, &with, &without, keys))
}

/// What a process sees in a container of this spec.
fn look_inside(spec: &Spec) -> Result<Readings> {
    let spec = Spec { name: None, tty: false, ..spec.clone() };
    let plan = prepare::plan(spec, |_| Ok(Ending::Demonstration), false)?.plan;
    let agent = Agent::start(&plan, &mut Unwatched)?;
    let mut sight = agent.look(Purpose::Container)?;
    sight.read_limits(Purpose::Container, agent.pid());
    agent.end()?;
    Ok(sight)
}
