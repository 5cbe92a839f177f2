//! What the facts mean for `get`, and what to do about it. Pure: no clock, no disk, no network.

use super::facts::{
    CatalogueFacts, CertificateFacts, ClockFacts, DirFacts, DirKind, DiskFacts, KvmFacts,
    LimaHomeFacts, LimactlFacts, NetworkFacts, ProxyFacts, QemuFacts, RepositoryFacts,
    SettingsFacts, Tool, Tried,
};
use super::{Finding, State};
use crate::cli::Discovery;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::explain::ask::{Answer, Asked};
use crate::output::human;
use callao_fetch::source::SourceKind;
use callao_vm::qemu::accel::{Accel, Device};

/// Room for an image or two.
const FREE_BYTES_WANTED: u64 = 2 * 1024 * 1024 * 1024;
/// Not even a kernel fits.
const FREE_BYTES_MIN: u64 = 16 * 1024 * 1024;
/// Certificates and `Last-Modified` bear no more.
const CLOCK_SECONDS_MAX: i64 = 300;
/// 2025-01-01: before the first version of callao.
const CLOCK_UNIX_MIN: i64 = 1_735_689_600;
/// 2100-01-01.
const CLOCK_UNIX_MAX: i64 = 4_102_444_800;
/// Anybody may write.
const MODE_OTHERS_WRITE: u32 = 0o022;

/// Settings that could be read.
pub(crate) fn settings(facts: &SettingsFacts) -> Finding {
    let file = match &facts.file {
        Some(path) => format!("`{path}` is valid"),
        None => "no settings file: the defaults are used".into(),
    };
    let variables = match facts.variables.len() {
        0 => String::new(),
        _ => format!("; the environment sets {}", facts.variables.join(", ")),
    };
    Finding::ok("settings", file + &variables)
}

/// Settings that could not be read: no command works.
pub(crate) fn no_settings(error: &CommandError) -> Finding {
    Finding::problem("settings", error.kind, error.to_string())
        .fix("correct the file or the variable that is named; `callao man` shows all settings")
}

pub(crate) fn disk(facts: &DiskFacts) -> Vec<Finding> {
    let mut all = vec![directories(facts)];
    all.extend(permissions(&facts.cache).or_else(|| permissions(&facts.own)));
    all.push(free_space(facts));
    all.push(links(facts));
    all
}

fn directories(facts: &DiskFacts) -> Finding {
    let dirs = [&facts.cache, &facts.lima, &facts.own];
    if let Some(refused) = dirs.iter().find_map(|dir| dir.refused.as_ref()) {
        return Finding::problem(
            "cache",
            ExitCode::Disk,
            format!("`{}` cannot be used: {refused}", facts.cache.path),
        )
        .fix("correct its permissions, or name another directory with --cache-dir or $CALLAO_CACHE_DIR");
    }
    let there = match facts.cache.kind {
        DirKind::There => "is there and writable",
        _ => "is not there yet; it is made with the first file",
    };
    Finding::ok("cache", format!("`{}` {there}", facts.cache.path))
}

fn permissions(dir: &DirFacts) -> Option<Finding> {
    if dir.is_foreign {
        let found = format!("`{}` belongs to another user", dir.path);
        let fix = "run callao as the user who runs limactl; limactl must be able to use what callao writes";
        return Some(Finding::warning("permissions", found).fix(fix));
    }
    let mode = dir.mode.filter(|mode| mode & MODE_OTHERS_WRITE != 0)?;
    let found = format!(
        "others may write to `{}` (mode {:o})",
        dir.path,
        mode & 0o7777
    );
    let fix = format!(
        "chmod go-w '{}': whoever can write there can change what is cached",
        dir.path
    );
    Some(Finding::warning("permissions", found).fix(fix))
}

fn free_space(facts: &DiskFacts) -> Finding {
    let name = "free space";
    let Some(free) = facts.free_bytes else {
        return Finding::note(name, "the file system does not tell");
    };
    let found = human::bytes(free);
    let fix =
        "make room (callao cache prune --help tells how), or name another place with --cache-dir";
    match free {
        FREE_BYTES_WANTED.. => Finding::ok(name, found),
        FREE_BYTES_MIN.. => {
            Finding::warning(name, format!("{found}: not enough for some images")).fix(fix)
        }
        _ => Finding::problem(name, ExitCode::Disk, found).fix(fix),
    }
}

fn links(facts: &DiskFacts) -> Finding {
    let name = "links";
    if !facts.is_one_file_system {
        return Finding::warning(
            name,
            "lima/ and callao/ are on different file systems: each file is copied when it is complete",
        )
        .fix("keep both below one directory of one file system");
    }
    match (&facts.hard_link, &facts.reflink) {
        (Tried::Works, Tried::Works) => Finding::ok(name, "hard links and clones"),
        (Tried::Works, _) => Finding::ok(
            name,
            "hard links; no clones, so `get -o` of a cached file is a copy",
        ),
        (Tried::Fails(why), reflink) => {
            let instead = match reflink {
                Tried::Works => "a clone",
                _ => "a copy",
            };
            let found =
                format!("no hard links ({why}): the same bytes under a second URL are {instead}");
            Finding::warning(name, found).fix("put the cache on a file system with hard links")
        }
        (Tried::Unknown, _) => Finding::note(
            name,
            "not tried: the cache is not there yet, or cannot be written to",
        ),
    }
}

pub(crate) fn catalogue(facts: &CatalogueFacts) -> Finding {
    let name = "catalogue";
    let rebuild = "`callao cache rebuild` fills it again; without that, files are hashed once when they are next used";
    match facts {
        CatalogueFacts::Missing => Finding::ok(name, "there is none yet"),
        CatalogueFacts::Opened {
            was_damaged: true, ..
        } => Finding::warning(
            name,
            "it was damaged: it has been moved aside and a new one begun",
        )
        .fix(rebuild),
        CatalogueFacts::Opened { files, bytes, .. } => Finding::ok(
            name,
            format!("{files} files known, {} on disk", human::bytes(*bytes)),
        ),
        CatalogueFacts::Unusable(why) => Finding::warning(
            name,
            format!("{why}; without it every file is hashed again"),
        )
        .fix("remove what is in its place; it is made anew"),
    }
}

pub(crate) fn limactl(facts: &LimactlFacts) -> Finding {
    let name = "limactl";
    match facts {
        LimactlFacts::Missing => Finding::note(name, "there is none on PATH: `get` works without")
            .fix("install Lima (https://lima-vm.io), or name the program in $CALLAO_LIMACTL"),
        LimactlFacts::Found {
            path,
            version: Ok((version, true)),
        } => Finding::ok(name, format!("`{path}` is version {version}")),
        LimactlFacts::Found {
            path,
            version: Ok((version, false)),
        } => {
            let found =
                format!("`{path}` is version {version}: too old for `callao lima` and for plugins");
            Finding::warning(name, found).fix("install Lima v2.0 or newer")
        }
        LimactlFacts::Found {
            version: Err(why), ..
        } => Finding::warning(name, why.clone())
            .fix("run `limactl --version` as the user who runs Lima"),
    }
}

pub(crate) fn lima_home(facts: &LimaHomeFacts) -> Finding {
    let name = "Lima home";
    let from = if facts.is_named {
        "$LIMA_HOME"
    } else {
        "the usual place"
    };
    if !facts.is_there {
        return Finding::note(name, format!("`{}` ({from}) is not there", facts.path));
    }
    Finding::ok(
        name,
        format!("`{}` ({from}): {} instances", facts.path, facts.instances),
    )
}

pub(crate) fn discovery(facts: &NetworkFacts) -> Finding {
    let name = "discovery";
    if facts.offline {
        return Finding::note(
            name,
            "offline: no socket is opened at all; only files that are here are found",
        )
        .fix("leave out --offline, `offline = true` in the settings and $CALLAO_OFFLINE");
    }
    let found = match facts.discovery {
        Discovery::Public => {
            "`public`: gateways and routers of the settings, peers, and a kubo on this computer, besides the places that \
             you or a template name"
        }
        Discovery::Lan => {
            "`lan`: peers on the local network, and a kubo on this computer, besides the places that you or a template \
             name"
        }
        Discovery::None => "`none`: only the places that you or a template name",
    };
    Finding::ok(name, found)
}

/// Places that were named and cannot be used: `get` stops there.
pub(crate) fn places(facts: &NetworkFacts) -> Option<Finding> {
    let why = facts.unusable.as_ref()?;
    let finding = Finding::problem("places", ExitCode::Usage, why.clone());
    Some(finding.fix("correct the flag, the setting or the variable that is named"))
}

pub(crate) fn kubo(repository: &RepositoryFacts, facts: &NetworkFacts) -> Vec<Finding> {
    let is_looked_at = facts.discovery != Discovery::None;
    let mut all = vec![self::repository(repository, is_looked_at)];
    let daemons = facts
        .sources
        .iter()
        .filter(|asked| asked.source.kind == SourceKind::Kubo);
    all.extend(daemons.map(daemon));
    all
}

fn repository(facts: &RepositoryFacts, is_looked_at: bool) -> Finding {
    let name = "kubo repository";
    let RepositoryFacts::Found {
        path,
        version,
        unreadable,
        api,
    } = facts
    else {
        let missing = match facts {
            RepositoryFacts::Missing(path) => format!("`{path}` is not there"),
            _ => "nothing says where it would be".into(),
        };
        return Finding::note(name, format!("{missing}: `get` works without"));
    };
    let version = version
        .as_ref()
        .map_or(String::new(), |version| format!(", format {version}"));
    let daemon = match api {
        Some(api) => format!("; a daemon listens, or did, at {api}"),
        None => "; no daemon runs on it".into(),
    };
    let looked = match is_looked_at {
        true => "",
        false => "; it is not looked at, since discovery is `none` (--kubo names it)",
    };
    match unreadable {
        None => Finding::ok(
            name,
            format!("`{path}`: flatfs, read in place{version}{daemon}{looked}"),
        ),
        Some(why) if api.is_none() && is_looked_at => {
            Finding::warning(name, why.clone()).fix("start its daemon: then it is asked instead")
        }
        Some(why) => Finding::note(name, format!("{why}{daemon}{looked}")),
    }
}

fn daemon(asked: &Asked) -> Finding {
    let name = "kubo daemon";
    let place = &asked.source.place;
    if asked.answer == Answer::HasIt {
        let version = asked
            .abilities
            .version
            .as_deref()
            .unwrap_or("unknown version");
        let way = asked.abilities.way.as_deref().unwrap_or("the API");
        return Finding::ok(
            name,
            format!(
                "{place} is {version}; bytes come by {way} ({} ms)",
                asked.latency_ms
            ),
        );
    }
    Finding::warning(name, format!("{place}: {}", reason(asked)))
        .fix("start it, or remove a stale `api` file from its repository")
}

pub(crate) fn gateways(facts: &NetworkFacts) -> Vec<Finding> {
    let name = "gateway";
    let gateways = facts
        .sources
        .iter()
        .filter(|asked| asked.source.kind == SourceKind::Gateway);
    let judge = |asked: &Asked| {
        let place = &asked.source.place;
        if asked.answer != Answer::HasIt {
            return Finding::warning(name, format!("{place}: {}", reason(asked)))
                .fix("others are asked as well; take it out of `gateways` in the settings if it stays like this");
        }
        let car = match asked.abilities.car {
            Some(true) => "blocks and CARs",
            _ => "blocks",
        };
        Finding::ok(
            name,
            format!("{place} gives {car} ({} ms)", asked.latency_ms),
        )
    };
    gateways.map(judge).collect()
}

/// Peers that were named, and those that are on the local network.
pub(crate) fn peers(facts: &NetworkFacts) -> Vec<Finding> {
    let name = "peer";
    let is_peer =
        |asked: &&Asked| matches!(asked.source.kind, SourceKind::Bitswap | SourceKind::Lan);
    let judge = |asked: &Asked| {
        let place = &asked.source.place;
        if asked.answer == Answer::Network {
            return Finding::warning(name, format!("{place}: {}", reason(asked))).fix(
                "others are asked as well; correct --peer, or `peers.connect` in the settings",
            );
        }
        let version = asked.abilities.version.as_deref();
        let is = version.map_or_else(String::new, |version| format!(" is {version} and"));
        Finding::ok(
            name,
            format!("{place}{is} answers ({} ms)", asked.latency_ms),
        )
    };
    facts.sources.iter().filter(is_peer).map(judge).collect()
}

pub(crate) fn routers(facts: &NetworkFacts) -> Vec<Finding> {
    let name = "router";
    let judge = |router: &crate::explain::ask::AskedRouter| match (
        &router.providers,
        &router.reason,
    ) {
        (Some(_), _) => Finding::ok(
            name,
            format!("{} answers ({} ms)", router.place, router.latency_ms),
        ),
        (None, reason) => {
            let why = reason.as_deref().unwrap_or("no answer");
            Finding::warning(name, format!("{}: {why}", router.place))
                .fix("others are asked as well; take it out of `routers` in the settings if it stays like this")
        }
    };
    facts.routers.iter().map(judge).collect()
}

/// Where not a single place could be reached, the fault is near.
pub(crate) fn connection(facts: &NetworkFacts) -> Option<Finding> {
    let gateways = facts
        .sources
        .iter()
        .filter(|asked| asked.source.kind == SourceKind::Gateway);
    let is_reached = |asked: &Asked| asked.answer != Answer::Network;
    let asked = gateways.clone().count() + facts.routers.len();
    let reached = gateways.filter(|asked| is_reached(asked)).count()
        + facts
            .routers
            .iter()
            .filter(|router| router.providers.is_some())
            .count();
    let found = format!("none of {asked} gateways and routers could be reached");
    (asked > 1 && reached == 0).then(|| {
        Finding::warning("connection", found).fix(
            "check the network and the proxies; where there is none on purpose, set discovery to `lan` or `none`",
        )
    })
}

fn reason(asked: &Asked) -> &str {
    asked
        .reason
        .as_deref()
        .unwrap_or("it does not answer as it should")
}

pub(crate) fn proxies(facts: &ProxyFacts) -> Finding {
    let name = "proxies";
    if let Some((variable, value, _)) = facts.iter().find(|(_, _, is_good)| !is_good) {
        return Finding::warning(
            name,
            format!("${variable} is `{value}`, which is no URL: it is not used"),
        )
        .fix(format!(
            "set ${variable} to something like http://proxy:3128, or unset it"
        ));
    }
    if facts.is_empty() {
        return Finding::ok(name, "the environment names none");
    }
    let all = facts
        .iter()
        .map(|(variable, value, _)| format!("{variable}={value}"));
    Finding::ok(name, all.collect::<Vec<_>>().join(" "))
}

pub(crate) fn certificates(facts: &CertificateFacts) -> Finding {
    let name = "certificates";
    match facts {
        CertificateFacts::Named {
            variable,
            path,
            unusable: Some(why),
        } => Finding::problem(
            name,
            ExitCode::Usage,
            format!("${variable} is `{path}`: {why}; no HTTPS server can be trusted"),
        )
        .fix(format!(
            "unset ${variable}, or let it name PEM certificates"
        )),
        CertificateFacts::Named { variable, path, .. } => {
            Finding::ok(name, format!("`{path}`, as ${variable} says"))
        }
        CertificateFacts::System(place) => {
            Finding::ok(name, format!("those of the system ({place})"))
        }
        CertificateFacts::Missing => Finding::warning(
            name,
            "none were found where systems keep them: HTTPS will fail",
        )
        .fix("install the package ca-certificates, or let $SSL_CERT_FILE name a file of them"),
    }
}

pub(crate) fn clock(facts: &ClockFacts) -> Finding {
    let name = "clock";
    let fix =
        "set the clock (such as `timedatectl set-ntp true`): certificates are checked against it";
    if !(CLOCK_UNIX_MIN..CLOCK_UNIX_MAX).contains(&facts.now) {
        let found = format!("{} seconds after 1970 cannot be now", facts.now);
        return Finding::warning(name, found).fix(fix);
    }
    // One server may have it wrong; if all agree, it is this computer.
    let closest = facts.ahead.iter().min_by_key(|(_, ahead)| ahead.abs());
    match closest {
        Some((place, ahead)) if ahead.abs() > CLOCK_SECONDS_MAX => {
            let side = if *ahead > 0 { "ahead of" } else { "behind" };
            let span = human::duration(std::time::Duration::from_secs(ahead.unsigned_abs()));
            Finding::warning(name, format!("{span} {side} that of {place}")).fix(fix)
        }
        Some((place, _)) => Finding::ok(name, format!("agrees with that of {place}")),
        None => Finding::ok(name, "plausible; nobody was heard who could confirm it"),
    }
}

/// What `callao start` needs beside ssh. `get` works without any of it.
pub(crate) fn qemu(facts: &QemuFacts) -> Finding {
    let name = "QEMU";
    let system = match &facts.system {
        Tool::Found(system) => system,
        other => return tool(name, other),
    };
    let firmware = match &facts.firmware {
        Tool::Found(path) => format!("firmware `{path}`"),
        Tool::Missing(why) | Tool::Unusable(why) => parts(why).0.into(),
    };
    let found = format!("{system}; {firmware}");
    match (&facts.img, &facts.firmware) {
        (Tool::Missing(why) | Tool::Unusable(why), _) => {
            let (missing, fix) = parts(why);
            with_fix(Finding::note(name, format!("{found}; {missing}")), fix)
        }
        (_, Tool::Missing(why) | Tool::Unusable(why)) => {
            with_fix(Finding::note(name, found), parts(why).1)
        }
        _ => Finding::ok(name, found),
    }
}

pub(crate) fn ssh(facts: &Tool) -> Finding {
    match facts {
        Tool::Found(ssh) => Finding::ok("ssh", format!("`{ssh}`, with scp and ssh-keygen")),
        other => tool("ssh", other),
    }
}

/// Something without which no machine runs.
fn tool(name: &'static str, facts: &Tool) -> Finding {
    match facts {
        Tool::Found(what) => Finding::ok(name, what.as_str()),
        Tool::Missing(why) => {
            let (missing, fix) = parts(why);
            let found = format!("{missing}: `get` works without, virtual machines do not");
            with_fix(Finding::note(name, found), fix)
        }
        Tool::Unusable(why) => Finding::warning(name, why.as_str()),
    }
}

/// What is missing, and what to do about it, if the message says that.
fn parts(message: &str) -> (&str, Option<&str>) {
    const ADVICE: &str = ": install ";
    match message.find(ADVICE) {
        Some(at) => (&message[..at], Some(&message[at + 2..])),
        None => (message, None),
    }
}

fn with_fix(finding: Finding, fix: Option<&str>) -> Finding {
    match fix {
        Some(fix) => finding.fix(fix),
        None => finding,
    }
}

pub(crate) fn kvm(facts: &KvmFacts) -> Finding {
    let name = "KVM";
    let chosen = match &facts.chosen {
        Ok(chosen) => chosen,
        Err(error) => {
            return Finding::warning(name, error.to_string()).fix(
                "take `machines.accelerator` out of the settings, or $CALLAO_ACCELERATOR out of the environment",
            );
        }
    };
    match (chosen.accel, &chosen.why) {
        (Accel::Kvm, _) => Finding::ok(name, "/dev/kvm opens, and runs the guests"),
        (Accel::Tcg, None) => Finding::ok(name, "not used: tcg is asked for, which is slower"),
        (Accel::Tcg, Some(why)) => {
            let found = format!("{why}: guests are run by QEMU's own translator, which is slower");
            let fix = match &facts.host.device {
                Device::Opens => {
                    "turn on virtualisation in the firmware, or nested virtualisation in the host of this machine"
                }
                Device::Missing => {
                    "load the module (kvm_intel, kvm_amd), if the processor has what it needs"
                }
                Device::Refused(_) => "add yourself to the group kvm, and log in again",
            };
            Finding::note(name, found).fix(fix)
        }
    }
}

/// The error that the command ends with: `get` would meet the first of the problems.
pub(crate) fn verdict(findings: &[Finding]) -> Result<(), CommandError> {
    let problems = findings
        .iter()
        .filter(|finding| finding.state == State::Problem);
    let names: Vec<&str> = problems.clone().map(|finding| finding.name).collect();
    let Some(kind) = problems.filter_map(|finding| finding.fails).next() else {
        return Ok(());
    };
    Err(CommandError::new(
        kind,
        format!("callao get cannot work here: {}", names.join(", ")),
    ))
}

#[cfg(test)]
mod tests;
