// What an rtstream service hears, as JSON lines. When the connection is lost it is made again and goes on after the
// last final: none is lost, none comes twice.
//
//     npm install
//     node listen.mjs [unix:PATH | HOST:PORT] [EPOCH:SEQUENCE]     begins with all finals held, or after one of them
//
// RTSTREAM_TOKEN is the token, if the service asks for one; RTSTREAM_CA a PEM file, if it speaks TLS.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const { RTSTREAM_CA, RTSTREAM_TOKEN, RTSTREAM_PROTOS } = process.env;
const [target = "127.0.0.1:7660", after] = process.argv.slice(2);
const protos = RTSTREAM_PROTOS ?? fileURLToPath(new URL("../../protos", import.meta.url));
const RETRY_MS = 1000;
const HOPELESS = [grpc.status.INVALID_ARGUMENT, grpc.status.UNAUTHENTICATED, grpc.status.UNIMPLEMENTED];

const { SpeechService } = grpc.loadPackageDefinition(
  loader.loadSync("rtstream/v1/rtstream.proto", {
    includeDirs: [protos], longs: Number, enums: String, defaults: true, oneofs: true,
  }),
).rtstream.v1;
const credentials = RTSTREAM_CA ? grpc.credentials.createSsl(readFileSync(RTSTREAM_CA)) : grpc.credentials.createInsecure();
// A ping every 30 s finds out that the other side is gone; the service allows one every 5 s.
const client = new SpeechService(target, credentials, { "grpc.keepalive_time_ms": 30_000 });
const metadata = new grpc.Metadata();
if (RTSTREAM_TOKEN) metadata.set("authorization", `Bearer ${RTSTREAM_TOKEN}`);

const seconds = ({ seconds, nanos }) => Math.round(seconds * 1000 + nanos / 1e6) / 1000;

function text(type, { segment, start, end, text, position }) {
  return { type, segment, start: seconds(start), end: seconds(end), text, ...position };
}

function listen(position) {
  client
    .subscribe(position ? { resumeAfter: position } : { fromStart: true }, metadata)
    .on("data", ({ event, ...of }) => {
      if (event === "final" || event === "heartbeat") position = of[event].position;
      if (event === "heartbeat") return;
      const line = event === "final" || event === "partial" ? text(event, of[event]) : { type: event, ...of[event] };
      console.log(JSON.stringify(line));
    })
    .on("error", ({ code, details }) => {
      console.error(`${grpc.status[code]}: ${details}`);
      if (HOPELESS.includes(code)) process.exit(1);
      setTimeout(listen, RETRY_MS, position);
    });
}

const [epoch, sequence] = after?.split(":") ?? [];
listen(after && { epoch, sequence: Number(sequence) });
