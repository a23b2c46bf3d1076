# SPDX-License-Identifier: Apache-2.0
"""The replay provider's side of an HTTP/2 connection: many streams, answered as they come, their
events taking turns. One thread a connection."""
import select
import ssl

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

import replies

# How often a stream that waits for a file looks for it.
LOOK_S = 0.005
IDLE_S = 60


class Stream:
    """A request as far as it has come, then what of its answer has not left yet."""

    def __init__(self, headers):
        self.headers = [(name.decode(), value.decode()) for name, value in headers]
        self.fields = dict(self.headers)
        self.steering = replies.Steering(self.fields.get("x-replay"))
        self.body = b""
        self.logged = False
        self.answered = False  # its answer's head has left
        self.answer = None
        self.pieces = []  # of the answer, not yet begun
        self.events = 0  # begun
        self.out = b""  # of the piece that has begun


class Connection:
    def __init__(self, tls, number, log, options):
        self.tls = tls
        self.number = number
        self.log = log
        self.streams = {}
        self.closing = False  # when all streams are answered
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=False, header_encoding=None, validate_inbound_headers=True))
        self.http.local_settings = h2.settings.Settings(client=False, initial_values={
            h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: options.window,
            h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: options.streams,
            h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: options.head})
        self.http.decoder.max_header_list_size = options.head
        self.http.initiate_connection()
        self.flush()

    def write(self, event, **entry):
        self.log.write(event=event, connection=self.number, protocol="HTTP/2", **entry)

    # --- the socket

    def flush(self):
        data = self.http.data_to_send()
        if data:
            self.tls.sendall(data)

    def receive(self):
        """What has come; b"" at the end, None where nothing has within the time."""
        if not self.tls.pending():
            waiting = any(self.waits(stream) for stream in self.streams.values())
            if not select.select([self.tls], [], [], LOOK_S if waiting else IDLE_S)[0]:
                return None if waiting else b""
        # A record without data, such as a key update, must not keep other streams waiting.
        self.tls.settimeout(0)
        try:
            return self.tls.recv(65536)
        except ssl.SSLWantReadError:
            return None
        finally:
            self.tls.settimeout(IDLE_S)

    def run(self):
        try:
            while not (self.closing and not self.streams):
                data = self.receive()
                if data == b"":
                    break
                if data:
                    for event in self.http.receive_data(data):
                        self.take(event)
                while self.give():
                    self.flush()
                self.flush()
        except h2.exceptions.ProtocolError as error:
            self.write("broken", error=f"{type(error).__name__}: {error}")
            self.flush()
        except (OSError, ssl.SSLError):
            pass
        finally:
            for identity, stream in self.streams.items():
                self.log_stream(identity, stream, False)
            self.write("ended")

    # --- what comes

    def log_stream(self, identity, stream, complete):
        """Once a stream; returns the JSON value of its body."""
        if stream.logged:
            return None
        stream.logged = True
        return self.log.request(
            complete, stream.body, connection=self.number, protocol="HTTP/2", stream_id=identity,
            host=stream.fields.get(":authority", ""), method=stream.fields.get(":method", ""),
            path=stream.fields.get(":path", ""), headers=stream.headers)

    def take(self, event):
        if isinstance(event, h2.events.RequestReceived):
            self.streams[event.stream_id] = Stream(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if event.stream_id in self.streams:
                self.streams[event.stream_id].body += event.data
        elif isinstance(event, h2.events.StreamEnded):
            self.begin(event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            self.write("reset", stream_id=event.stream_id, error_code=int(event.error_code))
            stream = self.streams.pop(event.stream_id, None)
            if stream:
                self.log_stream(event.stream_id, stream, False)
        elif isinstance(event, h2.events.PingReceived):
            self.write("ping")
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.write("goaway", error_code=int(event.error_code))
            self.closing = True

    def begin(self, identity):
        """The request is complete."""
        stream = self.streams[identity]
        parsed = self.log_stream(identity, stream, True)
        steering = stream.steering
        if "ping" in steering:
            self.http.ping(b"replayed")
        if "goaway" in steering or "close" in steering:
            self.closing = True
        if "goaway" in steering:
            # GOAWAY by hand: h2's own close_connection would end its state machine, and the
            # streams that are open go on.
            frame = b"\0\0\x08\x07\0" + b"\0\0\0\0" + identity.to_bytes(4, "big") + b"\0\0\0\0"
            self.flush()
            self.tls.sendall(frame)
        if "reset" in steering:
            self.http.reset_stream(identity, int(steering["reset"]))
            del self.streams[identity]
            return
        accepted = stream.fields.get("accept-encoding", "")
        method = stream.fields.get(":method")
        if method == "POST":
            host = stream.fields.get(":authority", "").split(":")[0]
            stream.answer = replies.post(host, stream.fields[":path"], parsed, accepted, steering)
        elif method == "GET":
            stream.answer = replies.json_answer(200, replies.MODELS, accepted, steering)
        else:
            stream.answer = replies.Answer(204, [], b"")
        stream.pieces = [stream.answer.body] if stream.answer.pieces is None \
            else list(stream.answer.pieces)

    # --- what goes

    @staticmethod
    def waits(stream):
        """Whether the answer's next piece waits for a file."""
        return stream.answer is not None and not stream.out and len(stream.pieces) == 1 \
            and replies.must_wait(stream.steering)

    def give(self):
        """A piece of each answer, as far as its window goes; returns whether any went."""
        went = False
        for identity, stream in list(self.streams.items()):
            if stream.answer is not None and not self.waits(stream):
                went = self.give_one(identity, stream) or went
        return went

    def give_one(self, identity, stream):
        if not stream.answered:
            stream.answered = True
            self.http.send_headers(identity, [(":status", str(stream.answer.status))] + [
                (name.lower(), value) for name, value in stream.answer.headers])
        if not stream.out and stream.pieces:
            if stream.answer.pieces is not None and \
                    stream.events == int(stream.steering.get("cut", -1)):
                self.http.reset_stream(identity, h2.errors.ErrorCodes.INTERNAL_ERROR)
                del self.streams[identity]
                return True
            stream.events += 1
            stream.out = stream.pieces.pop(0)
        padding = int(stream.steering["pad"]) if "pad" in stream.steering else None
        room = min(self.http.local_flow_control_window(identity), self.http.max_outbound_frame_size)
        room -= padding + 1 if padding is not None else 0
        part = stream.out[:max(room, 0)]
        if stream.out and not part:
            return False
        stream.out = stream.out[len(part):]
        ends = not stream.out and not stream.pieces
        trailers = ends and "trailers" in stream.steering
        self.http.send_data(identity, part, end_stream=ends and not trailers,
                            pad_length=padding if part else None)
        if trailers:
            self.http.send_headers(identity, [("x-replayed", "1")], end_stream=True)
        if ends:
            del self.streams[identity]
        return True


def serve(tls, number, log, options):
    """Serves one connection to its end; tls has shaken hands."""
    connection = Connection(tls, number, log, options)
    connection.run()
    if connection.closing:
        try:
            tls.unwrap()
        except (OSError, ssl.SSLError, ValueError):
            pass
