//! The dashboard in a real Chromium.

use callao_testkit::real::Chromium;
use serde_json::json;

use super::dashboard_stand::{Stand, busy};

/// Everything that can have the focus and is shown, in the order of the document.
const FOCUSABLE: &str =
    "[...document.querySelectorAll('a[href], button, input, summary, [tabindex=\"0\"]')]
    .filter(one => !one.disabled && one.getClientRects().length > 0)";

/// A page that shows what the stand says.
fn opened(stand: &Stand, arguments: &[&str]) -> Option<Chromium> {
    let mut chromium = Chromium::start(arguments)?;
    chromium.resize(1280, 900);
    go(&mut chromium, stand);
    Some(chromium)
}

fn go(chromium: &mut Chromium, stand: &Stand) {
    assert_eq!(chromium.open(&stand.url()), None);
    chromium.wait_for("document.getElementById('link').dataset.state === 'live'");
}

fn busy_stand() -> Stand {
    let stand = Stand::new();
    *stand.status.lock().expect("a status") = busy();
    stand
}

fn texts(chromium: &mut Chromium, selector: &str) -> Vec<String> {
    let found = chromium.eval(&format!(
        "[...document.querySelectorAll({})].map(one => one.innerText.trim())",
        json!(selector)
    ));
    serde_json::from_value(found).expect("texts")
}

#[test]
fn the_page_shows_what_the_daemon_does_and_asks_nobody_else() {
    let stand = busy_stand();
    // Nothing but loopback resolves, and the browser has no network beyond.
    let Some(mut chromium) = opened(
        &stand,
        &["--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"],
    ) else {
        return;
    };
    assert_eq!(
        texts(&mut chromium, "#files-there .name"),
        ["half.qcow2", "noble-amd64.img", "secret.img", "site.car"]
    );
    assert_eq!(
        texts(&mut chromium, "#files-there .badge"),
        ["Served in part", "Served", "Not served", "Served"]
    );
    assert!(
        texts(&mut chromium, "#files-there .under")
            .contains(&"its origin is a private address".into())
    );
    assert_eq!(
        texts(&mut chromium, "#fetches .figures"),
        ["2.00 MiB of 4.00 MiB (50 %), 1.00 MiB/s, 2 s left"]
    );
    assert_eq!(
        texts(&mut chromium, "#fetches .share"),
        ["512 KiB, 25 %", "1.00 MiB, 50 %", "512 KiB, 25 %"]
    );
    let widths =
        chromium.eval("[...document.querySelectorAll('.bar span')].map(one => one.style.width)");
    assert_eq!(widths, json!(["12.5%", "25%", "12.5%"]));
    assert_eq!(texts(&mut chromium, "#client-rows code").len(), 2);
    assert_eq!(
        texts(&mut chromium, "#client-rows tr:first-child .number"),
        ["3.00 MiB/s", "40.0 MiB"]
    );
    assert_eq!(
        texts(&mut chromium, "#peer-rows tr:first-child th .badge"),
        ["LAN"]
    );
    assert_eq!(
        texts(&mut chromium, "#peer-rows td:nth-child(4)"),
        ["0.4 ms", "–"]
    );
    assert!(texts(&mut chromium, "#setting-rows dd").contains(&"20.0 MiB/s".into()));
    assert_eq!(
        texts(&mut chromium, "#total-peers-more"),
        ["1 on this network"]
    );
    // What changes is drawn into what is there: what is unfolded stays so.
    chromium.eval("document.querySelector('[data-at=more]').click()");
    stand.status.lock().expect("a status")["fetches"][0]["have_bytes"] = json!(3 << 20);
    chromium.wait_for("document.querySelector('#fetches .figures').innerText.includes('75 %')");
    assert_eq!(
        chromium.eval("document.querySelector('[data-at=more]').ariaExpanded"),
        "true"
    );
    assert_eq!(
        chromium.eval("document.querySelector('[data-at=details]').hidden"),
        false
    );
    let own = stand.url();
    for request in chromium.requests() {
        assert!(
            request.starts_with(&own) || request.starts_with("data:"),
            "{request}"
        );
    }
    assert_eq!(chromium.errors(), [""; 0]);
}

#[test]
fn an_empty_daemon_says_what_to_do() {
    let stand = Stand::new();
    let Some(mut chromium) = opened(&stand, &[]) else {
        return;
    };
    let text = chromium.eval("document.querySelector('main').innerText");
    let text = text.as_str().expect("text");
    for wanted in [
        "callao get template:default",
        "callao add FILE",
        "callao serve --peer ADDRESS",
        "callao get --peer ADDRESS CID",
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    let tables = chromium.eval("[...document.querySelectorAll('table')].filter(one => one.getClientRects().length > 0).length");
    assert_eq!(tables, 0);
    assert_eq!(chromium.errors(), [""; 0]);
}

#[test]
fn files_that_are_chosen_or_dropped_appear_in_the_list() {
    let stand = Stand::new();
    let Some(mut chromium) = opened(&stand, &[]) else {
        return;
    };
    let chosen = stand.file("chosen-arm64.img", b"hello\n");
    chromium.choose("#chosen", &[&chosen]);
    chromium
        .wait_for("document.querySelector('#files-there .name')?.innerText === 'chosen-arm64.img'");
    // A real drop, with a file that the page gets from nobody else.
    chromium.eval(
        "const transfer = new DataTransfer();
         transfer.items.add(new File(['dropped'], '<img src=x onerror=\"document.title=1\">.img'));
         for (const type of ['dragover', 'drop'])
             document.body.dispatchEvent(new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true }));",
    );
    chromium.wait_for("document.querySelectorAll('#files-there .name').length === 2");
    assert_eq!(
        stand.names(),
        [
            "<img src=x onerror=\"document.title=1\">.img",
            "chosen-arm64.img"
        ]
    );
    assert_eq!(
        texts(&mut chromium, "#sending .figures"),
        ["is there now", "is there now"]
    );
    assert_eq!(
        chromium.eval("document.querySelectorAll('main img').length"),
        0
    );
    assert_eq!(chromium.eval("document.title"), "callao");
    let said = chromium.eval("document.getElementById('said').textContent");
    assert!(
        said.as_str().expect("text").ends_with(".img: is there now"),
        "{said}"
    );
    chromium.eval("document.querySelector('#sending button').click()");
    chromium.wait_for("document.querySelectorAll('#sending li').length === 1");
    assert_eq!(chromium.errors(), [""; 0]);
}

#[test]
fn urls_and_lines_for_templates_are_copied() {
    let stand = busy_stand();
    let Some(mut chromium) = opened(&stand, &[]) else {
        return;
    };
    chromium.call(
        "Browser.grantPermissions",
        json!({"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"], "origin": stand.url()}),
    );
    chromium.call("Page.bringToFront", json!({}));
    let mut copied = |row: usize, button: &str| {
        chromium.eval(&format!(
            "document.querySelectorAll('#files-there tbody')[{row}].querySelector('[data-at={button}]').click()"
        ));
        chromium.wait_for(&format!(
            "document.querySelectorAll('#files-there tbody')[{row}].querySelector('[data-at={button}-text]').innerText === 'Copied'"
        ));
        chromium.eval("navigator.clipboard.readText()")
    };
    let root = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi";
    assert_eq!(
        copied(1, "copy-url"),
        format!("ipfs://{root}/noble-amd64.img")
    );
    let digest = "9f86d081".repeat(8);
    assert_eq!(
        copied(1, "copy-yaml"),
        format!(
            "- location: \"https://images.example/noble-amd64.img\"\n  arch: \"x86_64\"\n  digest: \"sha256:{digest}\"\n  cid: {root}\n"
        )
    );
    assert_eq!(copied(3, "copy-url"), format!("ipfs://{root}"));
    assert_eq!(
        chromium.eval("document.querySelectorAll('#files-there tbody')[3].querySelector('[data-at=copy-yaml]').hidden"),
        true
    );
    chromium.eval("document.getElementById('copy-address').click()");
    chromium.wait_for("document.getElementById('copy-address-text').innerText === 'Copied'");
    assert_eq!(
        chromium.eval("navigator.clipboard.readText()"),
        "/ip4/192.0.2.7/tcp/4001/p2p/12D3KooWGj"
    );
}

#[test]
fn words_are_those_of_the_command_line() {
    let stand = Stand::new();
    let Some(mut chromium) = opened(&stand, &[]) else {
        return;
    };
    for (call, wanted) in [
        ("bytes(0)", "0 B"),
        ("bytes(1023)", "1023 B"),
        ("bytes(453 * 1048576)", "453 MiB"),
        ("bytes(1023.9 * 1024)", "1.00 MiB"),
        ("bytes(NaN)", "–"),
        ("span(3725)", "1 h 2 min"),
        ("String(percent(999, 1000))", "99"),
        ("String(percent(0, 0))", "100"),
        // From the specification of CIDs.
        (
            "cidForUrl('QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n')",
            "bafybeihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
        ),
        (
            "ipfsUrl({ name: 'a b%é.img', roots: ['bafy'], kind: 'user' })",
            "ipfs://bafy/a%20b%25%C3%A9.img",
        ),
        (
            "String(yaml({ name: 'a', kind: 'lima', url: 'https://images.example/a', roots: [], digests: [] }))",
            "null",
        ),
        (
            "yaml({ name: 'a', kind: 'lima', url: 'https://images.example/\"\\n- location: evil', roots: ['bafy'] })",
            "- location: \"https://images.example/\\\"\\n- location: evil\"\n  cid: bafy\n",
        ),
        ("settingValue('upload_rate_max', 0)", "no limit"),
        ("settingValue('x', [])", "none"),
        ("settingValue('x', null)", "not set"),
    ] {
        let names = "bytes, span, percent, cidForUrl, ipfsUrl, yaml, settingValue";
        let got = chromium.eval(&format!(
            "import('/words.js').then(({{ {names} }}) => {call})"
        ));
        assert_eq!(got, wanted, "{call}");
    }
}

#[test]
fn the_keyboard_reaches_everything_in_order_and_shows_where_it_is() {
    let stand = busy_stand();
    let Some(mut chromium) = opened(&stand, &[]) else {
        return;
    };
    let count = chromium.eval(&format!("{FOCUSABLE}.length"));
    // The way to the files, the address, and what each of four files has.
    assert_eq!(count, 3 + 3 + 3 + 3 + 2);
    for index in 0..count.as_u64().expect("a number") {
        chromium.press("Tab");
        let is_it = chromium.eval(&format!("{FOCUSABLE}[{index}] === document.activeElement"));
        assert_eq!(
            is_it,
            true,
            "number {index}: {}",
            chromium.eval("document.activeElement.outerHTML")
        );
        let outline = chromium.eval(
            "(style => style.outlineStyle + ' ' + parseFloat(style.outlineWidth))(getComputedStyle(document.activeElement))",
        );
        assert_eq!(outline, "solid 3", "number {index}");
    }
    // The last one is what unfolds the details.
    chromium.press("Enter");
    assert_eq!(chromium.eval("document.activeElement.ariaExpanded"), "true");
    // The focus survives that everything is drawn again, and goes to the heading when its file goes.
    let before = chromium.eval("document.activeElement.textContent");
    stand.status.lock().expect("a status")["uptime_seconds"] = json!(7);
    chromium.wait_for("document.getElementById('uptime').innerText === 'up 7 s'");
    assert_eq!(chromium.eval("document.activeElement.textContent"), before);
    stand.status.lock().expect("a status")["files"] = json!([]);
    chromium.wait_for("document.activeElement.id === 'files-title'");
}

#[test]
fn every_control_has_a_name_and_every_table_a_caption() {
    let stand = busy_stand();
    let Some(mut chromium) = opened(&stand, &[]) else {
        return;
    };
    chromium.choose("#chosen", &[&stand.file("new.img", b"x")]);
    chromium.wait_for("document.querySelector('#sending .figures')?.innerText === 'is there now'");
    let tree = chromium.call("Accessibility.getFullAXTree", json!({}));
    let nodes = tree["nodes"].as_array().expect("nodes");
    let shown: Vec<(&str, &str)> = nodes
        .iter()
        .filter(|node| node["ignored"] != true)
        .map(|node| {
            let text = |key: &str| node[key]["value"].as_str().unwrap_or_default();
            (text("role"), text("name"))
        })
        .collect();
    let roles = [
        "button",
        "link",
        "progressbar",
        "table",
        "region",
        "heading",
        "textbox",
    ];
    for (role, name) in shown.iter().filter(|(role, _)| roles.contains(role)) {
        assert!(!name.trim().is_empty(), "a {role} without a name");
    }
    let names = |role: &str| -> Vec<&str> {
        shown
            .iter()
            .filter(|(one, _)| *one == role)
            .map(|(_, name)| *name)
            .collect()
    };
    // No two buttons have one name: they are told apart by their file.
    let mut buttons = names("button");
    assert!(
        buttons.contains(&"Copy YAML of noble-amd64.img"),
        "{buttons:?}"
    );
    assert!(buttons.contains(&"Dismiss new.img"), "{buttons:?}");
    let all = buttons.len();
    buttons.sort_unstable();
    buttons.dedup();
    assert_eq!(buttons.len(), all, "{buttons:?}");
    assert_eq!(names("table").len(), 3);
    assert_eq!(names("progressbar")[0], "Fetching half.qcow2");
    assert!(
        shown.iter().any(|(role, _)| *role == "main")
            && shown.iter().any(|(role, _)| *role == "banner")
    );
    assert_eq!(names("heading")[0], "callao");
    // Headers of rows and columns survive the narrow layout.
    chromium.resize(360, 800);
    let tree = chromium.call("Accessibility.getFullAXTree", json!({}));
    let count = |role: &str| {
        let nodes = tree["nodes"].as_array().expect("nodes");
        nodes
            .iter()
            .filter(|node| node["ignored"] != true && node["role"]["value"] == role)
            .count()
    };
    assert_eq!((count("table"), count("rowheader")), (3, 5 + 2 + 2));
}

/// Texts whose contrast with what is behind them is less than AA wants, as `text: ratio`.
const PALE: &str = "(() => {
    const parse = colour => { const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number); return { rgb: [r, g, b], a }; };
    const light = rgb => { const [r, g, b] = rgb.map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const ground = one => { for (; one; one = one.parentElement) {
        const { rgb, a } = parse(getComputedStyle(one).backgroundColor); if (a === 1) return rgb; } return [255, 255, 255]; };
    const pale = []; let seen = 0;
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const one = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || !one.checkVisibility() || ['SCRIPT', 'NOSCRIPT'].includes(one.tagName)) continue;
        seen += 1;
        const [high, low] = [light(parse(getComputedStyle(one).color).rgb), light(ground(one))].sort((a, b) => b - a);
        const ratio = (high + 0.05) / (low + 0.05);
        if (ratio < 4.5) pale.push(`${walker.currentNode.data}: ${ratio.toFixed(2)}`);
    }
    return { pale, seen, ground: getComputedStyle(document.body).backgroundColor };
})()";

#[test]
fn light_and_dark_have_contrast_enough() {
    let stand = busy_stand();
    let Some(mut chromium) = opened(&stand, &[]) else {
        return;
    };
    chromium.eval("document.querySelector('[data-at=more]').click()");
    chromium.choose("#chosen", &[&stand.file("new.img", b"x")]);
    chromium.wait_for("document.querySelector('#sending .figures')?.innerText === 'is there now'");
    let mut grounds = Vec::new();
    for scheme in ["light", "dark"] {
        chromium.prefer("prefers-color-scheme", scheme);
        let found = chromium.eval(PALE);
        assert_eq!(found["pale"], json!([]), "{scheme}");
        assert!(
            found["seen"].as_u64().is_some_and(|seen| seen > 60),
            "{found}"
        );
        grounds.push(found["ground"].clone());
    }
    assert_ne!(grounds[0], grounds[1]);
    chromium.prefer("prefers-reduced-motion", "reduce");
    let moves =
        chromium.eval("getComputedStyle(document.querySelector('.bar span')).transitionDuration");
    assert_eq!(moves, "0s");
}

#[test]
fn nothing_is_wider_than_the_window() {
    let stand = busy_stand();
    {
        let mut status = stand.status.lock().expect("a status");
        status["files"][0]["name"] = json!("x".repeat(200));
        status["fetches"][0]["name"] = json!("y".repeat(200));
        status["fetches"][0]["sources"][0]["place"] = json!("z".repeat(200));
        status["peers"][0]["agent"] = json!("w".repeat(200));
        status["clients"][0]["who"] = json!("v".repeat(200));
    }
    let Some(mut chromium) = opened(&stand, &[]) else {
        return;
    };
    chromium.eval("for (const one of document.querySelectorAll('[data-at=more]')) one.click()");
    for width in [320, 400, 800, 900, 1280, 1920] {
        chromium.resize(width, 800);
        let wide = chromium.eval("document.documentElement.scrollWidth");
        assert!(
            wide.as_u64().is_some_and(|wide| wide <= u64::from(width)),
            "{wide} of {width}"
        );
        let cut = chromium.eval(
            "[...document.querySelectorAll('.scroll')].filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.id)",
        );
        assert_eq!(cut, json!([]), "at {width}");
    }
}

#[test]
fn names_of_strangers_are_text() {
    const EVIL: &str =
        "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>";
    let stand = busy_stand();
    {
        let mut status = stand.status.lock().expect("a status");
        for place in [
            "/files/0/name",
            "/files/0/why_not",
            "/files/0/path",
            "/files/0/url",
            "/files/0/kind",
            "/files/0/roots/0",
            "/files/0/digests/0",
            "/fetches/0/name",
            "/fetches/0/sources/0/place",
            "/fetches/0/sources/0/kind",
            "/clients/0/who",
            "/clients/0/kind",
            "/peers/0/peer_id",
            "/peers/0/address",
            "/peers/0/agent",
            "/peers/0/http",
            "/settings/discovery",
            "/version",
            "/gateway",
        ] {
            *status.pointer_mut(place).expect(place) = json!(EVIL);
        }
    }
    let Some(mut chromium) = opened(&stand, &[]) else {
        return;
    };
    chromium.eval("for (const one of document.querySelectorAll('[data-at=more]')) one.click()");
    chromium.wait_for(
        "document.getElementById('files-there').innerText.includes('<img src=x onerror=')",
    );
    assert_eq!(
        chromium.eval(
            "document.querySelectorAll('img').length + document.querySelectorAll('script').length"
        ),
        1
    );
    assert_eq!(chromium.eval("document.title"), "callao");
    assert_eq!(chromium.errors(), [""; 0]);
}

#[test]
fn a_lost_connection_is_shown_and_comes_back() {
    let mut stand = busy_stand();
    let Some(mut chromium) = opened(&stand, &[]) else {
        return;
    };
    assert_eq!(
        chromium.eval("document.getElementById('lost').hidden"),
        true
    );
    stand.stop();
    chromium.wait_for("document.getElementById('link').innerText === 'Connection lost'");
    let told = texts(&mut chromium, "#lost");
    assert!(
        told[0].starts_with("callao does not answer; trying again. Is callao serve running?"),
        "{told:?}"
    );
    // What was known stays, and says how old it is.
    assert!(
        told[0].contains("What is below is")
            && texts(&mut chromium, "#files-there .name").len() == 4
    );
    let said = chromium.eval("document.getElementById('said').textContent");
    assert_eq!(said, "Connection to callao lost; trying again");
    stand.status.lock().expect("a status")["uptime_seconds"] = json!(1);
    stand.start();
    chromium.wait_for("document.getElementById('link').dataset.state === 'live'");
    assert_eq!(
        chromium.eval("document.getElementById('lost').hidden"),
        true
    );
    let said = chromium.eval("document.getElementById('said').textContent");
    assert_eq!(said, "Connected to callao again");
    // A daemon of another version has another page.
    chromium.eval("window.old = true");
    stand.status.lock().expect("a status")["version"] = json!("0.2.0");
    chromium.wait_for(
        "window.old !== true && document.getElementById('version').innerText === 'version 0.2.0'",
    );
}

#[test]
fn pages_of_other_sites_get_and_change_nothing() {
    let (stand, other) = (busy_stand(), Stand::new());
    let Some(mut chromium) = opened(&other, &["--host-resolver-rules=MAP evil.test 127.0.0.1"])
    else {
        return;
    };
    // The page of another site has no policy of ours.
    chromium.call("Page.setBypassCSP", json!({"enabled": true}));
    go(&mut chromium, &other);
    let url = stand.url();
    for (options, wanted) in [
        ("{}", "blocked"),
        ("{ mode: 'no-cors' }", "opaque, 0 characters"),
    ] {
        let got = chromium.eval(&format!(
            "fetch('{url}/callao/v1/status', {options})
                .then(async answer => `${{answer.type}}, ${{(await answer.text()).length}} characters`, () => 'blocked')"
        ));
        let got = got.as_str().expect("text");
        // The policy of the resource may stop it before that.
        assert!(got == wanted || got == "blocked", "{options}: {got}");
    }
    chromium.eval(&format!(
        "fetch('{url}/callao/v1/add?name=evil.img', {{ method: 'POST', mode: 'no-cors', body: 'evil' }}).then(() => 1, () => 0)"
    ));
    assert_eq!(stand.names(), [""; 0]);
    // A name that points here today: the browser calls it the same origin, callao does not.
    let rebound = format!("http://evil.test:{}/", stand.address.port());
    chromium.open(&rebound);
    assert_eq!(
        texts(&mut chromium, "body"),
        [
            "this page is for this computer alone, under the name 127.0.0.1 or localhost and its own port"
        ]
    );
    let got = chromium.eval("fetch('/callao/v1/status').then(answer => answer.status)");
    assert_eq!(got, 403);
    let got = chromium.eval("fetch('/callao/v1/add?name=evil.img', { method: 'POST', body: 'x' }).then(answer => answer.status)");
    assert_eq!(got, 403);
    assert_eq!(stand.names(), [""; 0]);
}

#[test]
fn the_page_takes_nothing_that_is_not_its_own() {
    let stand = busy_stand();
    let Some(mut chromium) = opened(&stand, &[]) else {
        return;
    };
    for (tag, attribute, address, wanted) in [
        ("iframe", "src", "/", "frame-src"),
        (
            "script",
            "src",
            "http://127.0.0.1:1/a.js",
            "script-src-elem",
        ),
        ("img", "src", "http://127.0.0.1:1/a.png", "img-src"),
        ("object", "data", "/", "object-src"),
    ] {
        let refused = chromium.eval(&format!(
            "new Promise(done => {{
                addEventListener('securitypolicyviolation', event => done(event.effectiveDirective), {{ once: true }});
                const one = document.createElement('{tag}');
                one.setAttribute('{attribute}', '{address}');
                document.body.append(one);
            }})"
        ));
        assert_eq!(refused, wanted, "{tag}");
    }
}
