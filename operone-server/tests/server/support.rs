//! A server of its own for each test, and a client that shows everything that was answered.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server on a data folder. Dropping it kills it.
pub(crate) struct Server {
    process: Child,
    pub(crate) address: String,
    pub(crate) ready_line: String,
}

impl Server {
    /// Starts a server on a free port of this machine and waits for its ready line.
    pub(crate) fn start(data: &Path) -> Self {
        Self::start_with(data, &[], &[])
    }

    pub(crate) fn start_with(data: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut process = command(data, arguments, environment).spawn().unwrap();
        let mut ready_line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut ready_line).unwrap();
        let address = ready_line.split("http://").nth(1).and_then(|rest| rest.split(' ').next());
        let address = address.unwrap_or_else(|| panic!("no ready line: {ready_line:?}")).to_owned();
        Self { process, address, ready_line }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Ends the process at once, as a crash would.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Asks the process to stop, as Ctrl-C does, and gives its exit code.
    pub(crate) fn interrupt(mut self) -> Option<i32> {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        self.process.wait().unwrap().code()
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], None)
    }

    pub(crate) fn post(&self, path: &str, body: Value) -> Answer {
        self.request("POST", path, &[("content-type", "application/json")], Some(body.to_string().as_bytes()))
    }

    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Answer {
        Answer::read(self.open(method, path, headers, body))
    }

    /// Sends a request and reads the head of the answer; the body is read as it comes.
    pub(crate) fn stream(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> EventStream {
        EventStream::read(self.open(method, path, headers, None))
    }

    fn open(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "host") {
            head += &format!("host: {}\r\n", self.address);
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if let Some(body) = body {
            head += &format!("content-length: {}\r\n", body.len());
        }
        head += "\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        // A server that refuses a body may close before all of it is sent.
        let _ = stream.write_all(body.unwrap_or_default());
        stream
    }

    /// The events of a run that are kept, from a place on to its end.
    pub(crate) fn durable_events(&self, path: &str, headers: &[(&str, &str)]) -> Vec<ServerEvent> {
        self.stream("GET", path, headers).filter(|event| event.name != "token").collect()
    }

    /// Creates an agent and gives its id.
    pub(crate) fn create_agent(&self, body: Value) -> String {
        let answer = self.post("/agents", body);
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["agent_id"].as_str().unwrap().to_owned()
    }

    /// Ingests files and waits for the end of the job.
    pub(crate) fn ingest(&self, paths: &[&Path]) -> Value {
        let documents: Vec<Value> = paths
            .iter()
            .map(|path| serde_json::json!({"source": format!("file://{}", path.display())}))
            .collect();
        let answer = self.post("/rag/ingest/batch", serde_json::json!({"documents": documents}));
        assert_eq!(answer.status, 202, "{answer:?}");
        self.wait_for_job(answer.json()["job_id"].as_str().unwrap())
    }

    pub(crate) fn wait_for_job(&self, job_id: &str) -> Value {
        wait_until(|| {
            let job = self.get(&format!("/rag/jobs/{job_id}")).json();
            (job["status"] != "processing").then_some(job)
        })
    }

    /// Waits until the agent's run has ended and gives the agent.
    pub(crate) fn wait_for_agent(&self, agent_id: &str) -> Value {
        wait_until(|| {
            let agent = self.get(&format!("/agents/{agent_id}")).json();
            let open = ["created", "queued", "running", "waiting_approval"]
                .contains(&agent["status"].as_str().unwrap());
            (!open).then_some(agent)
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The command of a server, on a free port unless the arguments name one, with an environment that says nothing but
/// what the test says.
pub(crate) fn command(data: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_operone-server"));
    command.env_clear().arg("--data").arg(data).args(arguments);
    if !arguments.contains(&"--listen") {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    command.envs(environment.iter().copied()).stdout(Stdio::piped());
    command
}

pub(crate) fn wait_until<T>(mut ready: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(begun.elapsed() < PATIENCE, "this takes too long");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// A file with a text, below a folder.
pub(crate) fn file(folder: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn read(stream: TcpStream) -> Self {
        let mut reader = BufReader::new(stream);
        let (status, headers) = read_head(&mut reader);
        let mut body = Vec::new();
        if headers.get("transfer-encoding").is_some_and(|encoding| encoding == "chunked") {
            while let Some(chunk) = read_chunk(&mut reader) {
                body.extend(chunk);
            }
        } else {
            reader.read_to_end(&mut body).unwrap();
        }
        Self { status, headers, body }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

fn read_head(reader: &mut impl BufRead) -> (u16, HashMap<String, String>) {
    let mut lines = reader.by_ref().lines().map(Result::unwrap).take_while(|line| !line.is_empty());
    let status = lines.next().expect("no answer").split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    (status, headers.collect())
}

/// One chunk of a chunked body; `None` after the last, or where the connection was cut.
fn read_chunk(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let length = usize::from_str_radix(line.trim(), 16).ok().filter(|length| *length > 0)?;
    let mut chunk = vec![0; length + 2];
    reader.read_exact(&mut chunk).ok()?;
    chunk.truncate(length);
    Some(chunk)
}

/// An answer of server-sent events, read as it comes.
pub(crate) struct EventStream {
    reader: BufReader<TcpStream>,
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    text: String,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ServerEvent {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) data: Value,
}

impl EventStream {
    fn read(stream: TcpStream) -> Self {
        let mut reader = BufReader::new(stream);
        let (status, headers) = read_head(&mut reader);
        Self { reader, status, headers, text: String::new() }
    }
}

impl Iterator for EventStream {
    type Item = ServerEvent;

    fn next(&mut self) -> Option<ServerEvent> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| {
                    let prefix = format!("{name}:");
                    let lines = block.lines().filter_map(|line| line.strip_prefix(&prefix));
                    lines.map(str::trim_start).collect::<Vec<_>>().join("\n")
                };
                let data = field("data");
                if !data.is_empty() {
                    let data = serde_json::from_str(&data).unwrap();
                    return Some(ServerEvent { id: field("id"), name: field("event"), data });
                }
            }
            let chunk = read_chunk(&mut self.reader)?;
            self.text.push_str(&String::from_utf8(chunk).unwrap());
        }
    }
}

/// A model service that says "Hello." after a while, and tells when it is asked. Gives its URL.
pub(crate) fn slow_model(pause: Duration) -> (String, std::sync::mpsc::Receiver<()>) {
    let (sender, receiver) = std::sync::mpsc::channel();
    let url = model_service(move |_| {
        let _ = sender.send(());
        std::thread::sleep(pause);
        json!({"content": "Hello."})
    });
    (url, receiver)
}

/// A model service that calls these tools, one in each turn, and says "Done." Gives its URL.
pub(crate) fn calling_model(calls: Vec<(&'static str, Value)>) -> String {
    model_service(move |messages| {
        let turn = messages.iter().filter(|message| message["role"] == "assistant").count();
        calls.get(turn).map_or(json!({"content": "Done."}), |(name, arguments)| {
            let function = json!({"name": name, "arguments": arguments.to_string()});
            json!({"tool_calls": [{"index": 0, "id": turn.to_string(), "type": "function", "function": function}]})
        })
    })
}

/// A model service that gives these answers, one in each turn, and remembers what it was told. Gives its URL.
pub(crate) fn answering_model(answers: Vec<&'static str>) -> (String, std::sync::mpsc::Receiver<Vec<Value>>) {
    let (sender, receiver) = std::sync::mpsc::channel();
    let url = model_service(move |messages| {
        let _ = sender.send(messages.to_vec());
        let turn = messages.iter().filter(|message| message["role"] == "assistant").count();
        json!({"content": answers.get(turn).copied().unwrap_or("Done.")})
    });
    (url, receiver)
}

/// A web server that answers every request with this plain text. Gives its address.
pub(crate) fn web_page(text: &'static str) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut connection in listener.incoming().map_while(Result::ok) {
            let head = BufReader::new(connection.try_clone().unwrap()).lines();
            head.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\n";
            let answer = format!("{head}content-length: {}\r\n\r\n{text}", text.len());
            let _ = connection.write_all(answer.as_bytes());
        }
    });
    url
}

/// A model service that answers each conversation by `answer`, in one piece. Gives its URL.
fn model_service(answer: impl Fn(&[Value]) -> Value + Clone + Send + 'static) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut connection in listener.incoming().map_while(Result::ok) {
            let answer = answer.clone();
            std::thread::spawn(move || {
                let mut reader = BufReader::new(connection.try_clone().unwrap());
                let mut length = 0;
                for line in reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty())
                {
                    if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                }
                let mut request = vec![0; length];
                reader.read_exact(&mut request).unwrap();
                let request: Value = serde_json::from_slice(&request).unwrap();
                let delta = answer(request["messages"].as_array().unwrap());
                let finish = if delta["tool_calls"].is_array() { "tool_calls" } else { "stop" };
                let part = json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]});
                let stop = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]});
                let body = format!("data: {part}\n\ndata: {stop}\n\ndata: [DONE]\n\n");
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
                let _ = connection.write_all(format!("{head}{body}").as_bytes());
            });
        }
    });
    url
}
