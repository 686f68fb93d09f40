"""A real broker of Kafka: one process, KRaft, on free ports of the loopback interface."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

JARS = os.environ["KAFKA_JARS"]
JAVA = [
    "java", "-Xmx512m", "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{JARS}/*",
]  # fmt: skip
CLUSTER = "4L6g3nShT-eMCtK--X86sw"
START_SECONDS_MAX = 90


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Broker:
    """Starts at once. The same folder and ports are used again after a stop. `login` is a user and a
    password that a second listener wants. A third one, at `behind`, tells its clients to come by
    `proxied`, where whoever wants to stands in their way."""

    def __init__(self, folder, login):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True)
        open_port, login_port, controller, behind, proxied = free_ports(5)
        self.address = f"127.0.0.1:{open_port}"
        self.login_address = f"127.0.0.1:{login_port}"
        self.behind = f"127.0.0.1:{behind}"
        self.proxied = f"127.0.0.1:{proxied}"
        user, password = login
        module = "org.apache.kafka.common.security.plain.PlainLoginModule"
        properties = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"OPEN://{self.address},LOGIN://{self.login_address},"
            f"PROXIED://{self.behind},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"OPEN://{self.address},LOGIN://{self.login_address},"
            f"PROXIED://{self.proxied}",
            "inter.broker.listener.name": "OPEN",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,OPEN:PLAINTEXT,"
            "PROXIED:PLAINTEXT,LOGIN:SASL_PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.login.plain.sasl.jaas.config": f"{module} required "
            f'user_{user}="{password}";',
            "log.dirs": str(self.folder / "data"),
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "1",
            "log.cleaner.dedupe.buffer.size": "8388608",
            "log.cleaner.backoff.ms": "200",
            "auto.create.topics.enable": "false",
        }
        text = "".join(f"{key}={value}\n" for key, value in properties.items())
        self.properties = self.folder / "server.properties"
        self.properties.write_text(text)
        subprocess.run(
            [*JAVA, "kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", self.properties],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.process = None
        self.start()

    def start(self):
        log = (self.folder / "broker.log").open("ab")
        self.process = subprocess.Popen(
            [*JAVA, "kafka.Kafka", self.properties], stdout=log, stderr=log
        )
        host, port = self.address.split(":")
        until = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                socket.create_connection((host, int(port)), timeout=1).close()
                return
            except OSError:
                if time.monotonic() > until or self.process.poll() is not None:
                    print((self.folder / "broker.log").read_text()[-3000:])
                    sys.exit("   NOT: the broker starts")
                time.sleep(0.2)

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait()
