//! A real, headless Chromium, driven over the DevTools protocol.
//!
//! The protocol goes through two pipes that Chromium has as descriptors 3 and 4 (`--remote-debugging-pipe`): JSON, each
//! message ended by a NUL. No port, no WebSocket. One browser has one page; every wait has a deadline.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::Process;
use super::{CHROMIUM_VARIABLE, find};

/// How long an answer, or a state of the page, is waited for. Generous: the machine may be busy.
const WAIT_LIMIT: Duration = Duration::from_secs(60);
/// Pause between two looks at the page.
const LOOK: Duration = Duration::from_millis(25);
/// How often it is tried to remove what a browser leaves, and the pause in between.
const PROFILE_TRIES_COUNT: u32 = 50;
/// See [`PROFILE_TRIES_COUNT`].
const PROFILE_PAUSE: Duration = Duration::from_millis(100);
/// The shell gives Chromium its pipes where it wants them, since a child's other descriptors are closed.
const START: &str = r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#;

/// A running browser with one page; ends when dropped.
#[derive(Debug)]
pub struct Chromium {
    // Ended before its profile goes.
    process: Process,
    to: ChildStdin,
    from: Receiver<Value>,
    session: Option<String>,
    last_id: u64,
    events: VecDeque<Value>,
    _profile: Profile,
}

/// Where a browser keeps what it knows. Its other processes end after the first one, and write here until they do.
#[derive(Debug)]
struct Profile(TempDir);

impl Drop for Profile {
    fn drop(&mut self) {
        for _ in 0..PROFILE_TRIES_COUNT {
            if std::fs::remove_dir_all(self.0.path()).is_ok() {
                return;
            }
            std::thread::sleep(PROFILE_PAUSE);
        }
    }
}

impl Chromium {
    /// Starts it with an empty page; `arguments` come on top. `None` when there is no Chromium, which has then been said.
    ///
    /// # Panics
    /// When it is there and does not start; and as [`super::skip`] does.
    pub fn start(arguments: &[&str]) -> Option<Self> {
        let binary = find("chromium", CHROMIUM_VARIABLE)?;
        let profile = tempfile::Builder::new()
            .prefix("callao-chromium-")
            .tempdir()
            .expect("a directory");
        let mut command = Command::new("sh");
        command.args(["-c", START]).arg(&binary).args([
            "--headless",
            "--remote-debugging-pipe",
            // Root has no sandbox to give, and containers of CI have none either.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--no-default-browser-check",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-extensions",
            "--hide-scrollbars",
            "--no-proxy-server",
        ]);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        command.args(arguments).arg("about:blank");
        command
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut process = Process::start(&mut command).expect("a shell starts");
        let to = process.child().stdin.take().expect("a pipe");
        let output = process.child().stdout.take().expect("a pipe");
        let (sender, from) = channel();
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut message = Vec::new();
            while output
                .read_until(0, &mut message)
                .is_ok_and(|read| read > 0)
            {
                message.pop();
                let Ok(value) = serde_json::from_slice(&message) else {
                    break;
                };
                if sender.send(value).is_err() {
                    break;
                }
                message.clear();
            }
        });
        let mut chromium = Chromium {
            process,
            to,
            from,
            session: None,
            last_id: 0,
            events: VecDeque::new(),
            _profile: Profile(profile),
        };
        chromium.attach();
        Some(chromium)
    }

    fn attach(&mut self) {
        let target = self.call("Target.createTarget", json!({"url": "about:blank"}));
        let parameters = json!({"targetId": target["targetId"], "flatten": true});
        let attached = self.call("Target.attachToTarget", parameters);
        self.session = attached["sessionId"].as_str().map(str::to_owned);
        assert!(self.session.is_some(), "no session: {attached}");
        for domain in ["Page", "Runtime", "Network", "Log", "DOM", "Accessibility"] {
            self.call(&format!("{domain}.enable"), json!({}));
        }
    }

    /// Calls a method of the protocol; its result.
    ///
    /// # Panics
    /// On an error, at the deadline, or when the browser is gone.
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.try_call(method, parameters)
            .unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Calls a method of the protocol; its result, or the message of its error.
    ///
    /// # Errors
    /// What the browser says.
    ///
    /// # Panics
    /// At the deadline, or when the browser is gone.
    pub fn try_call(&mut self, method: &str, parameters: Value) -> Result<Value, String> {
        self.last_id += 1;
        let id = self.last_id;
        let mut message = json!({"id": id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).expect("the browser listens");
        let since = Instant::now();
        loop {
            let Some(answer) = self.receive(WAIT_LIMIT.saturating_sub(since.elapsed())) else {
                panic!("{method}: no answer within {WAIT_LIMIT:?}");
            };
            if answer["id"] == id {
                return match answer.get("error") {
                    Some(error) => Err(error["message"].to_string()),
                    None => Ok(answer["result"].clone()),
                };
            }
            self.events.push_back(answer);
        }
    }

    fn receive(&mut self, limit: Duration) -> Option<Value> {
        match self.from.recv_timeout(limit) {
            Ok(value) => Some(value),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                panic!("the browser is gone: {:?}", self.process.ended())
            }
        }
    }

    /// Goes to an address; the reason if it cannot be loaded.
    pub fn open(&mut self, url: &str) -> Option<String> {
        let went = self.call("Page.navigate", json!({"url": url}));
        self.wait_for("document.readyState === 'complete'");
        went["errorText"].as_str().map(str::to_owned)
    }

    /// The value of an expression, promises awaited.
    ///
    /// # Panics
    /// When it throws.
    pub fn eval(&mut self, expression: &str) -> Value {
        self.try_eval(expression)
            .unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    fn try_eval(&mut self, expression: &str) -> Result<Value, String> {
        let parameters = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true
        });
        // While a page is replaced by another there is no place to evaluate anything in.
        let done = self.try_call("Runtime.evaluate", parameters)?;
        match done.get("exceptionDetails") {
            Some(thrown) => Err(thrown.to_string()),
            None => Ok(done["result"]["value"].clone()),
        }
    }

    /// Waits until an expression is true.
    ///
    /// # Panics
    /// At the deadline.
    pub fn wait_for(&mut self, expression: &str) {
        let since = Instant::now();
        let mut last = String::new();
        while since.elapsed() < WAIT_LIMIT {
            match self.try_eval(&format!("Boolean({expression})")) {
                Ok(Value::Bool(true)) => return,
                Ok(_) => {}
                Err(error) => last = error,
            }
            std::thread::sleep(LOOK);
        }
        let text = self.try_eval("document.body?.innerText ?? ''");
        panic!("never true: {expression} {last}\nthe page: {text:?}");
    }

    /// Presses and releases a key: `Tab`, `Enter`.
    pub fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            other => panic!("no such key here: {other}"),
        };
        let mut event =
            json!({"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": code});
        if !text.is_empty() {
            event["text"] = json!(text);
        }
        self.call("Input.dispatchKeyEvent", event.clone());
        event["type"] = json!("keyUp");
        self.call("Input.dispatchKeyEvent", event);
    }

    /// Hands files to an `input` element, as its dialog would.
    pub fn choose(&mut self, selector: &str, files: &[&std::path::Path]) {
        let document = self.call("DOM.getDocument", json!({}));
        let parameters = json!({"nodeId": document["root"]["nodeId"], "selector": selector});
        let node = self.call("DOM.querySelector", parameters);
        let parameters = json!({"nodeId": node["nodeId"], "files": files});
        self.call("DOM.setFileInputFiles", parameters);
    }

    /// Says how wide and high the window is.
    pub fn resize(&mut self, width: u32, height: u32) {
        let parameters =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", parameters);
    }

    /// What a media query answers, such as `prefers-color-scheme`, `dark`.
    pub fn prefer(&mut self, feature: &str, value: &str) {
        let parameters = json!({"features": [{"name": feature, "value": value}]});
        self.call("Emulation.setEmulatedMedia", parameters);
    }

    /// The picture of the page, PNG in base64.
    pub fn picture(&mut self) -> String {
        let taken = self.call("Page.captureScreenshot", json!({"format": "png"}));
        taken["data"].as_str().unwrap_or_default().to_owned()
    }

    /// Takes the errors so far: exceptions, `console.error`, and what the browser logged (blocked by a policy, not loaded).
    pub fn errors(&mut self) -> Vec<String> {
        self.call("Runtime.evaluate", json!({"expression": "0"}));
        let is_error = |event: &Value| match event["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" => true,
            "Runtime.consoleAPICalled" => event["params"]["type"] == "error",
            "Log.entryAdded" => event["params"]["entry"]["level"] == "error",
            _ => false,
        };
        let (errors, others): (VecDeque<Value>, VecDeque<Value>) =
            self.events.drain(..).partition(is_error);
        self.events = others;
        errors
            .iter()
            .map(|event| event["params"].to_string())
            .collect()
    }

    /// Every address that was asked for so far.
    pub fn requests(&mut self) -> Vec<String> {
        self.call("Runtime.evaluate", json!({"expression": "0"}));
        let requests = self
            .events
            .iter()
            .filter(|event| event["method"] == "Network.requestWillBeSent");
        requests
            .filter_map(|event| event["params"]["request"]["url"].as_str())
            .map(str::to_owned)
            .collect()
    }
}
