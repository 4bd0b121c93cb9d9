//! A headless Chromium, driven as a person drives it.
//!
//! In: a page's file. Out: what stands on it, after real clicks and keys; what it printed, loaded or threw. The DevTools
//! protocol goes over two pipes, the browser's descriptors 3 and 4 (`--remote-debugging-pipe`): no port is opened. Each
//! message is JSON that ends with a NUL byte.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Programs that speak the protocol.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
/// How long the browser may take for one thing. Far more than it needs: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at a page that is not yet as it should be.
const LOOK: Duration = Duration::from_millis(10);

/// The first of [`NAMES`] in the path; `None` is said on standard error.
pub fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = NAMES.iter().find_map(|name| {
        std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
    });
    if found.is_none() {
        eprintln!("skipped: none of {} is in the path, so that no page can be looked at", NAMES.join(", "));
    }
    found
}

/// A browser with one page.
pub struct Browser {
    child: Child,
    to: Option<ChildStdin>,
    from: Receiver<Value>,
    /// Events since the page was opened.
    events: Vec<Value>,
    session: Option<String>,
    number: u64,
    /// What was typed so far is held down: bits of the protocol (8 is Shift).
    modifiers: u32,
    _profile: TempDir,
}

impl Browser {
    /// Starts `program` with an empty profile and a page of this size.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(program: &Path, width: u32, height: u32) -> Self {
        let profile = tempfile::tempdir().expect("a folder for the profile");
        // The pipes are standard input and output here; the shell puts them where the browser looks for them.
        let mut command = Command::new("sh");
        command.arg("-c").arg("exec \"$@\" 3<&0 4>&1 0</dev/null 1>/dev/null").arg("sh").arg(program);
        command.args([
            "--headless",
            "--remote-debugging-pipe",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-extensions",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
        ]);
        if is_root() {
            // Chromium's sandbox refuses root.
            command.arg("--no-sandbox");
        }
        command.arg(format!("--user-data-dir={}", profile.path().display())).arg("about:blank");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{}: {e}", program.display()));
        let to = child.stdin.take();
        let out = child.stdout.take().expect("a pipe");
        let (send, from) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(out).split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).expect("the browser writes JSON");
                if send.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            child,
            to,
            from,
            events: vec![],
            session: None,
            number: 0,
            modifiers: 0,
            _profile: profile,
        };
        let page = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": page["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", attach);
        browser.session = session["sessionId"].as_str().map(String::from);
        for domain in ["Page", "Runtime", "Log", "Network", "Accessibility", "DOM"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.resize(width, height);
        browser
    }

    /// The size of the page's window, in CSS pixels.
    pub fn resize(&mut self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    /// What the system is said to prefer: `light` or `dark`.
    pub fn prefer(&mut self, scheme: &str) {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", features);
    }

    /// Opens a report and waits until its script has done its work. Returns how long that took.
    ///
    /// # Panics
    /// When it does not come to that.
    pub fn open(&mut self, file: &Path) -> Duration {
        let file = file.canonicalize().unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        self.events.clear();
        let began = Instant::now();
        let answer = self.call("Page.navigate", json!({ "url": url(&file) }));
        assert!(answer.get("errorText").is_none(), "{}: {answer}", file.display());
        self.wait("document.documentElement?.dataset.ready === 'true' && document.readyState === 'complete'");
        began.elapsed()
    }

    /// The value of an expression on the page; a promise is waited for.
    ///
    /// # Panics
    /// When it throws.
    pub fn value(&mut self, expression: &str) -> Value {
        let what = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", what);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// Waits until an expression holds. Returns how long that took.
    ///
    /// # Panics
    /// When it never does.
    pub fn wait(&mut self, expression: &str) -> Duration {
        let began = Instant::now();
        while self.value(expression) != Value::Bool(true) {
            assert!(began.elapsed() < PATIENCE, "this never came true on the page: {expression}");
            std::thread::sleep(LOOK);
        }
        began.elapsed()
    }

    /// Waits until the page has been drawn with all that was asked of it.
    pub fn settle(&mut self) {
        self.value(
            "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))",
        );
    }

    /// Text of the first element of a selector.
    ///
    /// # Panics
    /// When there is none.
    pub fn text(&mut self, selector: &str) -> String {
        let text = self.value(&format!("document.querySelector({})?.textContent", json!(selector)));
        text.as_str().unwrap_or_else(|| panic!("nothing on the page is {selector}")).to_string()
    }

    /// Clicks into the middle of the first element of a selector, which must be what lies there.
    ///
    /// # Panics
    /// When there is none, or something covers it.
    pub fn click(&mut self, selector: &str) {
        let (x, y) = self.point(selector, 0.5, 0.5);
        self.mouse("mousePressed", x, y);
        self.mouse("mouseReleased", x, y);
        self.settle();
    }

    /// Presses the mouse at one share of an element's width, moves it to another and lets go; halfway up the element.
    ///
    /// # Panics
    /// As [`Browser::click`].
    pub fn drag(&mut self, selector: &str, from: f64, to: f64) {
        let (x, y) = self.point(selector, from, 0.5);
        self.mouse("mousePressed", x, y);
        let (x, y) = self.point(selector, to, 0.5);
        self.mouse("mouseMoved", x, y);
        self.mouse("mouseReleased", x, y);
        self.settle();
    }

    /// Where a share of an element's width and height lies in the window, scrolled into view.
    fn point(&mut self, selector: &str, across: f64, down: f64) -> (f64, f64) {
        let place = self.value(&format!(
            "(() => {{ const e = document.querySelector({}); if (!e) return null;
             e.scrollIntoView({{ block: 'center', inline: 'nearest', behavior: 'instant' }});
             const b = e.getBoundingClientRect(), x = b.left + {across} * b.width, y = b.top + {down} * b.height;
             const top = document.elementFromPoint(x, y);
             return [x, y, top === e || e.contains(top) || !!top?.contains(e), top?.outerHTML?.slice(0, 80)]; }})()",
            json!(selector)
        ));
        assert!(!place.is_null(), "nothing on the page is {selector}");
        assert_eq!(place[2], true, "{selector} is covered by {}", place[3]);
        (place[0].as_f64().expect("x"), place[1].as_f64().expect("y"))
    }

    fn mouse(&mut self, kind: &str, x: f64, y: f64) {
        let buttons = u32::from(kind != "mouseReleased");
        let event =
            json!({ "type": kind, "x": x, "y": y, "button": "left", "buttons": buttons, "clickCount": 1 });
        self.call("Input.dispatchMouseEvent", event);
    }

    /// Presses keys, one after another: their names (`ArrowRight`) or what they write (`j`).
    pub fn press(&mut self, keys: &[&str]) {
        for key in keys {
            let (code, text) = match *key {
                "Tab" => (9, None),
                "Enter" => (13, Some("\r")),
                "Escape" => (27, None),
                " " => (32, Some(" ")),
                "End" => (35, None),
                "Home" => (36, None),
                "ArrowLeft" => (37, None),
                "ArrowUp" => (38, None),
                "ArrowRight" => (39, None),
                "ArrowDown" => (40, None),
                "?" => (191, Some("?")),
                "[" => (219, Some("[")),
                "]" => (221, Some("]")),
                written => (u32::from(written.to_ascii_uppercase().as_bytes()[0]), Some(written)),
            };
            let mut event = json!({ "key": key, "windowsVirtualKeyCode": code, "modifiers": self.modifiers });
            event["type"] = json!(if text.is_some() { "keyDown" } else { "rawKeyDown" });
            if let Some(text) = text {
                event["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", event.clone());
            event["type"] = json!("keyUp");
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Presses keys with Shift held.
    pub fn press_shifted(&mut self, keys: &[&str]) {
        self.modifiers = 8;
        self.press(keys);
        self.modifiers = 0;
    }

    /// Writes into a field in place of what it holds, and leaves it by Enter.
    pub fn write(&mut self, selector: &str, text: &str) {
        self.click(selector);
        self.value(&format!("document.querySelector({}).select()", json!(selector)));
        match text {
            "" => {
                self.call(
                    "Input.dispatchKeyEvent",
                    json!({ "type": "rawKeyDown", "key": "Delete", "windowsVirtualKeyCode": 46 }),
                );
            }
            _ => {
                self.call("Input.insertText", json!({ "text": text }));
            }
        }
        self.press(&["Enter"]);
        self.settle();
    }

    /// Chooses an entry of a list by the keyboard: the browser's own pop-up is no part of the page.
    ///
    /// # Panics
    /// When there is no such entry.
    pub fn choose(&mut self, selector: &str, entry: &str) {
        let quoted = json!(selector);
        let index = self.value(&format!(
            "(() => {{ const e = document.querySelector({quoted}); e.focus();
             return [...e.options].findIndex(o => o.value === {}); }})()",
            json!(entry)
        ));
        let index = index.as_i64().filter(|i| *i >= 0).unwrap_or_else(|| panic!("{selector} has no {entry}"));
        self.press(&["Home"]);
        for _ in 0..index {
            self.press(&["ArrowDown"]);
        }
        self.settle();
        assert_eq!(self.value(&format!("document.querySelector({quoted}).value")), entry);
    }

    /// The page as it is seen, as a PNG.
    ///
    /// # Panics
    /// When it cannot be had or written.
    pub fn screenshot(&mut self, file: &Path) {
        self.settle();
        let picture = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        std::fs::write(file, decode(&picture["data"])).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    }

    /// The page as it would be printed, as a PDF.
    ///
    /// # Panics
    /// When it cannot be had.
    pub fn print(&mut self) -> Vec<u8> {
        decode(&self.call("Page.printToPDF", json!({ "printBackground": true }))["data"])
    }

    /// Role and name of everything on the page that assistive technology knows.
    pub fn accessible(&mut self) -> Vec<(String, String)> {
        let tree = self.call("Accessibility.getFullAXTree", json!({}));
        let nodes = tree["nodes"].as_array().cloned().unwrap_or_default();
        let text = |node: &Value, key: &str| node[key]["value"].as_str().unwrap_or_default().to_string();
        let seen = nodes.iter().filter(|node| node["ignored"] != true);
        seen.map(|node| (text(node, "role"), text(node, "name"))).collect()
    }

    /// What went wrong since the page was opened: exceptions, errors and warnings on the console, refusals, and every
    /// address that was asked for but the page's own and those that hold their data themselves.
    pub fn complaints(&mut self) -> Vec<String> {
        // Whatever is under way comes before this answer.
        let own = self.value("document.location.href.split('#')[0]");
        let own = own.as_str().unwrap_or_default();
        let events = self.events.iter().filter_map(|event| {
            let of = &event["params"];
            match event["method"].as_str()? {
                "Runtime.exceptionThrown" => Some(of["exceptionDetails"].to_string()),
                "Runtime.consoleAPICalled" => Some(of["args"].to_string()),
                "Log.entryAdded" => Some(of["entry"].to_string()),
                "Network.requestWillBeSent" => {
                    let address = of["request"]["url"].as_str()?;
                    let harmless = address == own || address.starts_with("data:");
                    (!harmless).then(|| format!("asked for {address}"))
                }
                _ => None,
            }
        });
        events.collect()
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.number += 1;
        let number = self.number;
        let mut message = json!({ "id": number, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        let to = self.to.as_mut().expect("the browser's pipe");
        to.write_all(&bytes).unwrap_or_else(|e| panic!("{method}: the browser is gone: {e}"));
        let until = Instant::now() + PATIENCE;
        loop {
            match self.from.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(mut answer) if answer["id"] == number => {
                    assert!(answer.get("error").is_none(), "{method}: {}", answer["error"]);
                    return answer["result"].take();
                }
                Ok(event) => self.events.push(event),
                Err(RecvTimeoutError::Timeout) => panic!("{method}: no answer within {PATIENCE:?}"),
                Err(RecvTimeoutError::Disconnected) => panic!("{method}: the browser ended"),
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends when its pipe does; a browser that hangs is ended.
        drop(self.to.take());
        let began = Instant::now();
        while let Ok(None) = self.child.try_wait() {
            if began.elapsed() > Duration::from_secs(5) {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(LOOK);
        }
    }
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout.trim_ascii() == b"0")
}

/// The address of a file: what is no plain letter is escaped.
fn url(file: &Path) -> String {
    let mut url = String::from("file://");
    for byte in file.to_str().expect("a path of letters").bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => url.push(byte.into()),
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
    url
}

/// The bytes of base64 text.
fn decode(text: &Value) -> Vec<u8> {
    use base64::Engine;
    let text = text.as_str().expect("base64 text");
    base64::engine::general_purpose::STANDARD.decode(text).expect("base64")
}
