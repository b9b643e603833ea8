//! The table of the requests: what each means, which command line of `sandbox` does the same, and what answers it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use hyper::{Method, StatusCode};

use super::answer::{Answered, ApiError};
use super::request::{ApiRequest, RequestQuery, decoded};
use super::{
    Daemon, archive, attach, build, containers, create, events, exec, images, inspect, logs, networks, pull,
};
use super::{stats, system, volumes, wait};
use crate::text::text;
use crate::value::shell::quote;

type Handler = fn(Arc<Daemon>, ApiRequest) -> Pin<Box<dyn Future<Output = Answered> + Send>>;

/// A kind of request.
pub(super) struct Route {
    method: Method,
    /// The path: `*` is a name without a `/`, `**` one that may have some, as those of images.
    path: &'static str,
    /// The key of the message that says what it means.
    means: &'static str,
    /// The command line that does the same, if the handler does not execute one. `*` is the name.
    same: &'static str,
    pub(super) handler: Handler,
}

macro_rules! routes {
    ($($method:ident $path:literal $means:literal $same:literal $module:ident::$handler:ident;)*) => {
        const ROUTES: &[Route] = &[$(Route {
            method: Method::$method,
            path: $path,
            means: $means,
            same: $same,
            handler: |daemon, request| Box::pin($module::$handler(daemon, request)),
        }),*];
    };
}

routes! {
    HEAD "/_ping" "daemon.means.ping" "" system::ping;
    GET "/_ping" "daemon.means.ping" "" system::ping;
    GET "/version" "daemon.means.version" "sandbox --version" system::version;
    GET "/info" "daemon.means.info" "sandbox doctor" system::info;
    POST "/auth" "daemon.means.auth" "" system::auth;
    GET "/events" "daemon.means.events" "sandbox events" events::events;
    GET "/system/df" "daemon.means.df" "sandbox system df" system::disk_usage;
    GET "/containers/json" "daemon.means.list" "sandbox ps" containers::list;
    POST "/containers/create" "daemon.means.create" "" create::create;
    POST "/containers/prune" "daemon.means.prune" "" containers::prune;
    GET "/containers/*/json" "daemon.means.inspect" "sandbox inspect *" inspect::container;
    POST "/containers/*/start" "daemon.means.start" "sandbox start *" containers::start;
    POST "/containers/*/stop" "daemon.means.stop" "sandbox stop *" containers::stop;
    POST "/containers/*/restart" "daemon.means.restart" "" containers::restart;
    POST "/containers/*/kill" "daemon.means.kill" "sandbox kill *" containers::kill;
    POST "/containers/*/pause" "daemon.means.pause" "sandbox pause *" containers::pause;
    POST "/containers/*/unpause" "daemon.means.unpause" "sandbox unpause *" containers::unpause;
    POST "/containers/*/rename" "daemon.means.rename" "" containers::rename;
    POST "/containers/*/update" "daemon.means.update" "" containers::update;
    POST "/containers/*/wait" "daemon.means.wait" "sandbox wait *" wait::wait;
    POST "/containers/*/attach" "daemon.means.attach" "sandbox attach *" attach::attach;
    POST "/containers/*/resize" "daemon.means.resize" "" attach::resize;
    GET "/containers/*/logs" "daemon.means.logs" "sandbox logs *" logs::logs;
    GET "/containers/*/top" "daemon.means.top" "" containers::top;
    GET "/containers/*/stats" "daemon.means.stats" "sandbox stats *" stats::stats;
    GET "/containers/*/changes" "daemon.means.changes" "" containers::changes;
    GET "/containers/*/export" "daemon.means.export" "" archive::export;
    HEAD "/containers/*/archive" "daemon.means.stat" "" archive::stat;
    GET "/containers/*/archive" "daemon.means.copyout" "" archive::get;
    PUT "/containers/*/archive" "daemon.means.copyin" "" archive::put;
    POST "/containers/*/exec" "daemon.means.exec" "" exec::create;
    DELETE "/containers/*" "daemon.means.rm" "" containers::remove;
    POST "/exec/*/start" "daemon.means.execstart" "" exec::start;
    POST "/exec/*/resize" "daemon.means.resize" "" exec::resize;
    GET "/exec/*/json" "daemon.means.execinspect" "" exec::inspect;
    GET "/images/json" "daemon.means.images" "sandbox images" images::list;
    POST "/images/create" "daemon.means.pull" "" pull::create;
    GET "/images/search" "daemon.means.search" "" images::search;
    GET "/images/get" "daemon.means.save" "" archive::save;
    POST "/images/load" "daemon.means.load" "" archive::load;
    POST "/images/prune" "daemon.means.imageprune" "" images::prune;
    GET "/images/**/get" "daemon.means.save" "" archive::save;
    GET "/images/**/json" "daemon.means.image" "sandbox image inspect *" images::inspect;
    GET "/images/**/history" "daemon.means.history" "sandbox history *" images::history;
    POST "/images/**/tag" "daemon.means.tag" "" images::tag;
    POST "/images/**/push" "daemon.means.push" "" pull::push;
    DELETE "/images/**" "daemon.means.rmi" "" images::remove;
    POST "/commit" "daemon.means.commit" "" images::commit;
    POST "/build" "daemon.means.build" "" build::build;
    POST "/build/prune" "daemon.means.buildprune" "" build::prune;
    POST "/session" "daemon.means.buildkit" "" system::buildkit;
    POST "/grpc" "daemon.means.buildkit" "" system::buildkit;
    GET "/volumes" "daemon.means.volumes" "sandbox volume ls" volumes::list;
    POST "/volumes/create" "daemon.means.volumecreate" "" volumes::create;
    POST "/volumes/prune" "daemon.means.volumeprune" "" volumes::prune;
    GET "/volumes/*" "daemon.means.volume" "sandbox volume inspect *" volumes::inspect;
    DELETE "/volumes/*" "daemon.means.volumerm" "" volumes::remove;
    GET "/networks" "daemon.means.networks" "" networks::list;
    POST "/networks/create" "daemon.means.network" "" networks::change;
    POST "/networks/prune" "daemon.means.networkprune" "" networks::prune;
    POST "/networks/*/connect" "daemon.means.network" "" networks::change;
    POST "/networks/*/disconnect" "daemon.means.network" "" networks::change;
    GET "/networks/*" "daemon.means.networks" "" networks::inspect;
    DELETE "/networks/*" "daemon.means.network" "" networks::remove;
    GET "/plugins" "daemon.means.plugins" "" system::no_plugins;
    GET "/plugins/*/json" "daemon.means.plugins" "" system::no_plugin;
    GET "/distribution/**/json" "daemon.means.distribution" "" system::distribution;
    GET "/swarm" "daemon.means.swarm" "" system::swarm;
    GET "/nodes" "daemon.means.swarm" "" system::swarm;
    GET "/services" "daemon.means.swarm" "" system::swarm;
    GET "/tasks" "daemon.means.swarm" "" system::swarm;
    GET "/secrets" "daemon.means.swarm" "" system::swarm;
    GET "/configs" "daemon.means.swarm" "" system::swarm;
    POST "/swarm/init" "daemon.means.swarm" "" system::swarm;
    POST "/swarm/join" "daemon.means.swarm" "" system::swarm;
}

/// A route, and the names in the path.
pub(super) struct FoundRoute {
    pub(super) route: &'static Route,
    pub(super) names: Vec<String>,
}

/// The routes that read the body as it comes: archives.
const STREAMED: [&str; 4] = ["/containers/*/archive", "/images/load", "/images/create", "/build"];

/// What a parameter is on the command line.
enum Parameter {
    /// A flag, if the parameter is true.
    Switch(&'static str, &'static str),
    /// A flag, if it is false.
    Unless(&'static str, &'static str),
    /// A flag with its value.
    Value(&'static str, &'static str),
    /// A flag for each filter.
    Filters,
}

use Parameter::{Filters, Switch, Unless, Value};

/// The parameters of the requests whose handlers execute no command.
const PARAMETERS: &[(&str, &[Parameter])] = &[
    ("/containers/json", &[Switch("all", "-a"), Switch("size", "-s"), Value("limit", "-n"), Filters]),
    ("/images/json", &[Switch("all", "-a"), Filters]),
    ("/volumes", &[Filters]),
    ("/events", &[Value("since", "--since"), Value("until", "--until"), Filters]),
    ("/containers/*/stop", &[Value("signal", "-s"), Value("t", "-t")]),
    ("/containers/*/kill", &[Value("signal", "-s")]),
    ("/containers/*/stats", &[Unless("stream", "--no-stream")]),
    (
        "/containers/*/logs",
        &[
            Switch("follow", "-f"),
            Switch("timestamps", "-t"),
            Value("tail", "-n"),
            Value("since", "--since"),
            Value("until", "--until"),
        ],
    ),
];

impl Parameter {
    /// The words for a query.
    fn words(&self, query: &RequestQuery) -> Vec<String> {
        match self {
            Switch(name, flag) if query.is(name) => vec![(*flag).to_owned()],
            Unless(name, flag) if query.get(name).is_some() && !query.is(name) => vec![(*flag).to_owned()],
            Value(name, flag) => {
                // Clients write these for what they do not ask for.
                let is_none = |value: &&str| *value == "all" || *value == "0" && flag.starts_with("--");
                let value = query.get(name).filter(|value| !is_none(value));
                value.map(|value| format!("{flag} {}", quote(value))).into_iter().collect()
            }
            Filters => {
                let filters = query.filters().unwrap_or_default();
                let pairs = filters.iter().flat_map(|(name, all)| all.iter().map(move |value| (name, value)));
                pairs.map(|(name, value)| format!("--filter {}", quote(format!("{name}={value}")))).collect()
            }
            Switch(..) | Unless(..) => Vec::new(),
        }
    }
}

impl Route {
    /// The key of the message that says what a request means.
    pub(super) fn means(&self, query: &RequestQuery) -> &'static str {
        match self.path {
            // One path for both.
            "/images/create" if query.get("fromSrc").is_some() => "daemon.means.import",
            _ => self.means,
        }
    }

    /// Whether its handler reads the body as it comes.
    pub(super) fn streams_body(&self) -> bool {
        STREAMED.contains(&self.path)
    }

    /// The command line that does the same.
    pub(super) fn command_line(&self, names: &[String], query: &RequestQuery) -> Option<String> {
        let name = names.first().map(|name| quote(name).to_string()).unwrap_or_default();
        let parameters = PARAMETERS.iter().find(|(path, _)| *path == self.path).map(|(_, all)| *all);
        let flags: Vec<String> =
            parameters.unwrap_or_default().iter().flat_map(|parameter| parameter.words(query)).collect();
        // The flags are before the name.
        let (before, after) =
            self.same.split_once(" *").map_or((self.same, None), |(before, _)| (before, Some(name)));
        let words = std::iter::once(before.to_owned()).chain(flags).chain(after);
        (!self.same.is_empty()).then(|| words.collect::<Vec<_>>().join(" "))
    }
}

/// Finds what answers a request.
pub(super) fn find(method: &Method, path: &str) -> Answered<FoundRoute> {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let found = ROUTES.iter().filter(|route| route.method == method).find_map(|route| {
        let pattern: Vec<&str> = route.path.trim_start_matches('/').split('/').collect();
        names_of(&pattern, &parts).map(|names| FoundRoute { route, names })
    });
    found.ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, text("daemon.page")))
}

/// The names in a path that fits a pattern.
fn names_of(pattern: &[&str], parts: &[&str]) -> Option<Vec<String>> {
    let end = match pattern.iter().position(|part| *part == "**") {
        None => (pattern.len() == parts.len()).then_some(0)?,
        Some(_) => parts.len().checked_sub(pattern.len())?,
    };
    let (mut names, mut at) = (Vec::new(), 0);
    for part in pattern {
        let length = if *part == "**" { end + 1 } else { 1 };
        let own = parts[at..at + length].join("/");
        match *part {
            "*" | "**" if own.is_empty() => return None,
            "*" | "**" => names.push(decoded(&own)),
            literal if literal == own => {}
            _ => return None,
        }
        at += length;
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_an_image_may_have_slashes() {
        let names = |method, path| find(&method, path).ok().map(|found| (found.route.path, found.names));
        let tag = names(Method::POST, "/images/127.0.0.1:5001/a/b/tag");
        assert_eq!(tag, Some(("/images/**/tag", vec!["127.0.0.1:5001/a/b".to_owned()])));
        assert_eq!(names(Method::GET, "/images/json").unwrap().0, "/images/json");
        assert_eq!(names(Method::GET, "/images/a%2Fb/json").unwrap().1, ["a/b"]);
        assert_eq!(names(Method::DELETE, "/images/a/b:1").unwrap().1, ["a/b:1"]);
        assert_eq!(names(Method::GET, "/containers//json"), None);
        assert_eq!(names(Method::GET, "/containers/a/b/json"), None);
        assert_eq!(names(Method::GET, "/nothing"), None);
    }

    #[test]
    fn the_command_line_of_a_request_has_its_parameters() {
        let line = |method, written: &str| {
            let (path, query) = written.split_once('?').unwrap_or((written, ""));
            let found = find(&method, path).ok().unwrap();
            found.route.command_line(&found.names, &RequestQuery::parse(query)).unwrap()
        };
        for (path, expected) in [
            ("/containers/json", "sandbox ps"),
            (
                "/containers/json?all=1&limit=2&filters={\"label\":[\"a b\"]}",
                "sandbox ps -a -n 2 --filter 'label=a b'",
            ),
            ("/containers/web/logs?stdout=1&follow=1&tail=5&since=0", "sandbox logs -f -n 5 web"),
            ("/containers/web/stats?stream=0", "sandbox stats --no-stream web"),
            ("/containers/web/stats", "sandbox stats web"),
            ("/images/a/b/json", "sandbox image inspect a/b"),
        ] {
            assert_eq!(line(Method::GET, path), expected, "{path}");
        }
        assert_eq!(line(Method::POST, "/containers/web/stop?t=3"), "sandbox stop -t 3 web");
        assert_eq!(line(Method::POST, "/containers/web/kill?signal=HUP"), "sandbox kill -s HUP web");
    }

    #[test]
    fn each_request_has_an_explanation() {
        for route in ROUTES {
            assert!(crate::text::text_if_any(route.means).is_some(), "{} {}", route.path, route.means);
        }
    }
}
