//! In which form an answer is wanted: `?format=` and `Accept`, and the parameters of a CAR. Pure; knows no request type.
//!
//! Sources: the trustless gateway specification, IPIP-402, IPIP-412, IPIP-523 (`format` wins), and kubo 0.43 where they are silent.

/// What the client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// The file or directory itself.
    Plain,
    /// One block.
    Raw,
    /// Many blocks.
    Car(CarOptions),
    /// A signed record of `/ipns`.
    IpnsRecord,
    /// A known form that is not given here: its name.
    Other(&'static str),
}

/// A format, and how it was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) format: Format,
    /// Whether the `Accept` header decided: then `Content-Location` names the address that always gives this.
    pub(super) by_accept: bool,
}

/// How much of the DAG a CAR holds (IPIP-402).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DagScope {
    /// The last block of the path alone.
    Block,
    /// The file, or the directory without its entries.
    Entity,
    /// Everything below.
    All,
}

/// Bytes of a file, inclusive at both ends, negative from its end; no end: up to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EntityBytes {
    pub(super) from: i64,
    pub(super) to: Option<i64>,
}

/// What a CAR is wanted to be. The order is always depth first, which satisfies every wish for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CarOptions {
    pub(super) scope: DagScope,
    pub(super) bytes: Option<EntityBytes>,
    /// Whether a block that occurs again is sent again.
    pub(super) dups: bool,
}

/// Decides. `format` and the others are values of the query, percent-decoded; `accept` is the header.
///
/// # Errors
/// Why the request is a bad one (400).
pub(super) fn choose(query: &Query, accept: Option<&str>) -> Result<Choice, String> {
    if let Some(name) = query.get("format") {
        let (name, parameters) = split_parameters(name);
        if let Some(format) = named(name, &parameters, query)? {
            return Ok(Choice {
                format,
                by_accept: false,
            });
        }
    }
    for part in accept.unwrap_or_default().split(',') {
        let (name, parameters) = split_parameters(part);
        let refused = parameters
            .iter()
            .any(|(key, value)| *key == "q" && value.parse() == Ok(0.0));
        if refused {
            continue;
        }
        let by_accept = true;
        let short = match name.to_ascii_lowercase().as_str() {
            "application/vnd.ipld.raw" => "raw",
            "application/vnd.ipld.car" => "car",
            "application/vnd.ipfs.ipns-record" => "ipns-record",
            "application/x-tar" => "tar",
            "application/vnd.ipld.dag-json" => "dag-json",
            "application/vnd.ipld.dag-cbor" => "dag-cbor",
            "application/json" => "json",
            "application/cbor" => "cbor",
            _ => continue,
        };
        if let Some(format) = named(short, &parameters, query)? {
            return Ok(Choice { format, by_accept });
        }
    }
    Ok(Choice {
        format: Format::Plain,
        by_accept: false,
    })
}

/// The format with this name; `None` if nobody knows it, which is as if it had not been said (so kubo does).
fn named(name: &str, parameters: &[(&str, &str)], query: &Query) -> Result<Option<Format>, String> {
    Ok(Some(match name {
        "raw" => Format::Raw,
        "car" => Format::Car(car_options(parameters, query)?),
        "ipns-record" => Format::IpnsRecord,
        "tar" => Format::Other("tar"),
        "json" => Format::Other("json"),
        "cbor" => Format::Other("cbor"),
        "dag-json" => Format::Other("dag-json"),
        "dag-cbor" => Format::Other("dag-cbor"),
        _ => return Ok(None),
    }))
}

/// Parameters of the query win over those of the media type.
fn car_options(parameters: &[(&str, &str)], query: &Query) -> Result<CarOptions, String> {
    let said = |in_query: &str, in_type: &str| {
        let of_type = parameters.iter().find(|(key, _)| *key == in_type);
        query
            .get(in_query)
            .or(of_type.map(|(_, value)| *value))
            .map(str::to_owned)
    };
    match said("car-version", "version").as_deref() {
        None | Some("1") => {}
        Some(other) => return Err(format!("CAR version {} is not known; 1 is", quoted(other))),
    }
    match said("car-order", "order").as_deref() {
        None | Some("dfs" | "unk") => {}
        Some(other) => return Err(format!("order {} is neither dfs nor unk", quoted(other))),
    }
    let dups = match said("car-dups", "dups").as_deref() {
        None | Some("n") => false,
        Some("y") => true,
        Some(other) => return Err(format!("dups {} is neither y nor n", quoted(other))),
    };
    let bytes = query.get("entity-bytes").map(entity_bytes).transpose()?;
    let scope = match query.get("dag-scope") {
        // A range of bytes implies the entity.
        None if bytes.is_some() => DagScope::Entity,
        None | Some("all") => DagScope::All,
        Some("entity") => DagScope::Entity,
        Some("block") => DagScope::Block,
        Some(other) => {
            return Err(format!(
                "dag-scope {} is none of block, entity and all",
                quoted(other)
            ));
        }
    };
    let bytes = bytes.filter(|_| scope == DagScope::Entity);
    Ok(CarOptions { scope, bytes, dups })
}

fn entity_bytes(text: &str) -> Result<EntityBytes, String> {
    let refuse = || {
        format!(
            "entity-bytes {} is not FROM:TO with whole numbers, or `*` for TO",
            quoted(text)
        )
    };
    let (from, to) = text.split_once(':').ok_or_else(refuse)?;
    let from: i64 = from.parse().map_err(|_| refuse())?;
    let to: Option<i64> = match to {
        "*" => None,
        to => Some(to.parse().map_err(|_| refuse())?),
    };
    let backwards = to.is_some_and(|to| (from < 0) == (to < 0) && to < from);
    if backwards {
        return Err(format!(
            "entity-bytes {} ends before it begins",
            quoted(text)
        ));
    }
    Ok(EntityBytes { from, to })
}

impl EntityBytes {
    /// The range (exclusive at its end) in a file of this size; empty if it lies beyond.
    pub(super) fn of(self, size: u64) -> std::ops::Range<u64> {
        let place = |position: i64| match u64::try_from(position) {
            Ok(position) => Some(position),
            Err(_) => size.checked_sub(position.unsigned_abs()),
        };
        let start = place(self.from).unwrap_or(0).min(size);
        let end = match self.to {
            None => size,
            // Before the first byte: nothing.
            Some(to) => place(to).map_or(0, |to| to.saturating_add(1)),
        };
        start..end.clamp(start, size.max(start))
    }
}

/// `name; key=value; ...`, everything trimmed, values without quotes.
fn split_parameters(text: &str) -> (&str, Vec<(&str, &str)>) {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let parameters = parts
        .filter_map(|part| part.split_once('='))
        .map(|(key, value)| (key.trim(), value.trim().trim_matches('"')));
    (name, parameters.collect())
}

/// A query, percent-decoded; the first value of a name counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads what follows the question mark.
    pub(super) fn parse(text: &str) -> Self {
        let pairs = url::form_urlencoded::parse(text.as_bytes());
        Query(pairs.into_owned().collect())
    }

    /// The first value of a parameter, unless it is empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let pair = self.0.iter().find(|(key, _)| key == name)?;
        Some(pair.1.as_str()).filter(|value| !value.is_empty())
    }
}

/// Foreign text in a message: shortened, without control characters.
pub(super) fn quoted(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    let clean: String = text
        .chars()
        .filter(|char| !char.is_control())
        .take(CHARS_MAX)
        .collect();
    format!("`{clean}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(query: &str, accept: &str) -> Result<Choice, String> {
        choose(
            &Query::parse(query),
            Some(accept).filter(|accept| !accept.is_empty()),
        )
    }

    fn car(query: &str) -> Result<CarOptions, String> {
        match chosen(&format!("format=car&{query}"), "")?.format {
            Format::Car(options) => Ok(options),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn the_query_wins_and_what_nobody_knows_counts_as_unsaid() {
        const RAW: &str = "application/vnd.ipld.raw";
        for (query, accept, format, by_accept) in [
            ("", "", Format::Plain, false),
            ("", "*/*", Format::Plain, false),
            (
                "",
                "text/html,application/xhtml+xml,*/*;q=0.8",
                Format::Plain,
                false,
            ),
            ("format=raw", "", Format::Raw, false),
            ("format=raw", "application/vnd.ipld.car", Format::Raw, false),
            ("", RAW, Format::Raw, true),
            (
                "",
                "Application/Vnd.Ipld.Raw; q=0.5, */*",
                Format::Raw,
                true,
            ),
            (
                "",
                "application/vnd.ipld.raw;q=0, */*",
                Format::Plain,
                false,
            ),
            ("format=nonsense", RAW, Format::Raw, true),
            ("format=", "", Format::Plain, false),
            ("format=ipns-record", "", Format::IpnsRecord, false),
            (
                "",
                "application/vnd.ipfs.ipns-record",
                Format::IpnsRecord,
                true,
            ),
            ("format=tar", "", Format::Other("tar"), false),
            ("format=dag-json", RAW, Format::Other("dag-json"), false),
            ("", "application/json", Format::Other("json"), true),
        ] {
            let wanted = Ok(Choice { format, by_accept });
            assert_eq!(chosen(query, accept), wanted, "{query} {accept}");
        }
    }

    #[test]
    fn parameters_of_a_car() {
        let options = |scope, bytes, dups| Ok(CarOptions { scope, bytes, dups });
        let bytes = |from, to| Some(EntityBytes { from, to });
        for (query, wanted) in [
            ("", options(DagScope::All, None, false)),
            ("dag-scope=block", options(DagScope::Block, None, false)),
            ("dag-scope=entity", options(DagScope::Entity, None, false)),
            (
                "car-dups=y&car-order=unk",
                options(DagScope::All, None, true),
            ),
            (
                "entity-bytes=0:*",
                options(DagScope::Entity, bytes(0, None), false),
            ),
            (
                "entity-bytes=-10:-1",
                options(DagScope::Entity, bytes(-10, Some(-1)), false),
            ),
            (
                "entity-bytes=5:5&dag-scope=entity",
                options(DagScope::Entity, bytes(5, Some(5)), false),
            ),
            (
                "entity-bytes=5:-5",
                options(DagScope::Entity, bytes(5, Some(-5)), false),
            ),
            // Only an entity has bytes.
            (
                "entity-bytes=5:6&dag-scope=all",
                options(DagScope::All, None, false),
            ),
        ] {
            assert_eq!(car(query), wanted, "{query}");
        }
        let typed = chosen("", "application/vnd.ipld.car; version=1; order=dfs; dups=y");
        let format = Format::Car(CarOptions {
            scope: DagScope::All,
            bytes: None,
            dups: true,
        });
        assert_eq!(typed.map(|choice| choice.format), Ok(format));
        let both = chosen("car-dups=n", "application/vnd.ipld.car;dups=y");
        assert!(matches!(both.map(|c| c.format), Ok(Format::Car(car)) if !car.dups));
    }

    #[test]
    fn parameters_that_are_refused() {
        for (query, reason) in [
            ("car-version=2", "CAR version `2` is not known; 1 is"),
            ("car-order=bfs", "order `bfs` is neither dfs nor unk"),
            ("car-dups=maybe", "dups `maybe` is neither y nor n"),
            (
                "dag-scope=some",
                "dag-scope `some` is none of block, entity and all",
            ),
            (
                "entity-bytes=x",
                "entity-bytes `x` is not FROM:TO with whole numbers, or `*` for TO",
            ),
            (
                "entity-bytes=*:5",
                "entity-bytes `*:5` is not FROM:TO with whole numbers, or `*` for TO",
            ),
            (
                "entity-bytes=0:99999999999999999999",
                "entity-bytes `0:99999999999999999999` is not FROM:TO with whole numbers, or `*` for TO",
            ),
            (
                "entity-bytes=5:4",
                "entity-bytes `5:4` ends before it begins",
            ),
            (
                "entity-bytes=-4:-5",
                "entity-bytes `-4:-5` ends before it begins",
            ),
        ] {
            assert_eq!(car(query), Err(reason.to_owned()), "{query}");
        }
        let typed = chosen("", "application/vnd.ipld.car; version=2");
        assert_eq!(typed, Err("CAR version `2` is not known; 1 is".to_owned()));
    }

    #[test]
    fn bytes_of_an_entity_are_found_from_both_ends() {
        for (from, to, wanted) in [
            (0, None, 0..100),
            (10, None, 10..100),
            (-10, None, 90..100),
            (-1000, None, 0..100),
            (0, Some(0), 0..1),
            (10, Some(19), 10..20),
            (10, Some(1000), 10..100),
            (0, Some(-1), 0..100),
            (0, Some(-10), 0..91),
            (-10, Some(-5), 90..96),
            (95, Some(-10), 95..95),
            (100, None, 100..100),
            (5000, Some(6000), 100..100),
            (0, Some(-1000), 0..0),
            (i64::MIN, Some(i64::MAX), 0..100),
        ] {
            assert_eq!(EntityBytes { from, to }.of(100), wanted, "{from}:{to:?}");
        }
        assert_eq!(EntityBytes { from: 0, to: None }.of(0), 0..0);
    }

    #[test]
    fn foreign_text_is_cleaned() {
        assert_eq!(quoted("a\r\nb\u{7}"), "`ab`");
        assert_eq!(quoted(&"x".repeat(500)).len(), 82);
    }
}
