"""The two endpoints that are compared, and how their answers are made comparable."""

import logging
import re
import subprocess
import threading
from contextlib import contextmanager

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError
from moto.server import ThreadedMotoServer

REGION = "us-east-1"
# Without these every answer would be another one: times, host names, ids of zones and numbers of requests.
VARIES = {"CreatedTime", "DNSName", "CanonicalHostedZoneId", "ResponseMetadata", "Expiration"}
ARN = re.compile(r"^arn:aws:[a-z-]*:[a-z0-9-]*:\d*:.+")


class World:
    """One endpoint with what was made on it, by name."""

    def __init__(self, endpoint, names):
        self.elbv2 = client("elbv2", endpoint)
        self.sts = client("sts", endpoint)
        self.names = names

    def __getitem__(self, name):
        return self.names[name]

    def call(self, step):
        """The answer to a step: what was returned, or how it was refused, with names in place of ids."""
        service = self.sts if step.service == "sts" else self.elbv2
        try:
            answer = getattr(service, step.method)(**step.parameters(self))
        except ClientError as error:
            return {
                "refused": error.response["Error"]["Code"],
                "status": error.response["ResponseMetadata"]["HTTPStatusCode"],
            }
        except ResponseParserError:
            # What moto does not expect it answers with a page for people.
            return {"refused": "no answer of the API"}
        for name, find in step.keep.items():
            self.names[name] = find(answer)
        return self.comparable(step.pick(answer))

    def comparable(self, value):
        """The value without what varies from run to run. An empty list and none are the same to a client."""
        if isinstance(value, dict):
            return {key: self.comparable(inner) for key, inner in value.items() if key not in VARIES and inner != []}
        if isinstance(value, list):
            return [self.comparable(inner) for inner in value]
        if isinstance(value, str):
            named = [name for name, known in self.names.items() if known == value]
            if named:
                return f"<{named[0]}>"
            if ARN.match(value):
                return "<an ARN>"
        return value


def client(service, endpoint):
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id="lab",
        aws_secret_access_key="lab",
        config=Config(retries={"total_max_attempts": 1}),
    )


@contextmanager
def lab(binary):
    """The lab, with moto's page size of 50."""
    process = subprocess.Popen([binary, "serve", "--page-size", "50"], stdout=subprocess.PIPE, text=True)
    try:
        endpoint = None
        for line in process.stdout:
            found = re.search(r"AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2=(\S+)", line)
            if found:
                endpoint = found.group(1)
                break
        if endpoint is None:
            raise SystemExit(f"{binary} ended before it served")
        # Nobody reads the rest, but the pipe must not fill up.
        threading.Thread(target=lambda: process.stdout.read(), daemon=True).start()
        names = {
            "vpc": "vpc-0a1b2c3d4e5f60718",
            "subnet a": "subnet-a",
            "subnet b": "subnet-b",
            "certificate": f"arn:aws:acm:{REGION}:000000000000:certificate/shop",
            "account": "000000000000",
        }
        yield World(endpoint, names)
    finally:
        process.terminate()
        process.wait()


@contextmanager
def moto():
    """moto, with the network and the certificate that it wants to know of."""
    # A line for every request, and a stack for every one that it does not expect.
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        ec2 = client("ec2", endpoint)
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        names = {"vpc": vpc, "account": "123456789012"}
        for letter, block in [("a", "10.0.0.0/24"), ("b", "10.0.1.0/24")]:
            subnet = ec2.create_subnet(VpcId=vpc, CidrBlock=block, AvailabilityZone=f"{REGION}{letter}")
            names[f"subnet {letter}"] = subnet["Subnet"]["SubnetId"]
        certificate = client("acm", endpoint).request_certificate(DomainName="shop.example.com")
        names["certificate"] = certificate["CertificateArn"]
        yield World(endpoint, names)
    finally:
        server.stop()
