"""Programs that people really send with: a Japanese subject and an attachment arrive as they were meant.

swaks, msmtp, curl, s-nail, ssmtp, smtplib, MIME::Lite, PHPMailer, sendEmail, mutt, Nodemailer
    ──> relay run ── STARTTLS, AUTH ──> postfix ──> maildir

Debian's BusyBox has no sendmail; what a BusyBox that has one sends is in the corpus (cap-busybox-makemime).
"""

import email
import email.policy
import hashlib
import random
from collections.abc import Callable, Iterator
from email.message import EmailMessage

import pytest

from tests.support.overlay import Inside, instance
from tests.support.peers import PASSWORD, USER, Papers, Peer
from tests.support.running import RelayProcess, running
from tests.support.waiting import eventually

ATTACHMENT = random.Random(3).randbytes(5000) + bytes(range(256)) + b"\r\n.\r\n\0"
SUBJECT = "監視レポート「バックアップ完了」"
TEXT = "本文：完了しました。"
FROM, TO = "nas@isp.example", "b@far.example"

# What a script pipes into sendmail: line feeds, raw UTF-8, no Date, no Message-ID.
LETTER = """From: NAS 監視 <nas@isp.example>
To: b@far.example
Subject: {subject} {name}
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=xyzzy

--xyzzy
Content-Type: text/plain; charset=utf-8

{text}
.
--xyzzy
Content-Type: application/octet-stream; name=scan.bin
Content-Transfer-Encoding: base64

{attachment}
--xyzzy--
"""

SMTPLIB = """
import smtplib, sys
from email.message import EmailMessage
letter = EmailMessage()
letter["From"], letter["To"], letter["Subject"] = "nas@isp.example", "b@far.example", sys.argv[2]
letter.set_content(sys.argv[3])
letter.add_attachment(open("scan.bin", "rb").read(), maintype="application", subtype="octet-stream", filename="スキャン.bin")
with smtplib.SMTP("127.0.0.1", int(sys.argv[1]), timeout=30) as relay:
    relay.send_message(letter)
"""

MIME_LITE = """
use MIME::Lite;
my ($port, $subject, $text) = @ARGV;
my $letter = MIME::Lite->new(
  From => 'nas@isp.example', To => 'b@far.example', Subject => $subject, Type => 'multipart/mixed');
$letter->attach(Type => 'text/plain; charset=utf-8', Data => $text);
$letter->attach(Type => 'application/octet-stream', Path => 'scan.bin', Filename => 'scan.bin', Encoding => 'base64');
$letter->send('smtp', '127.0.0.1', Port => $port, Timeout => 30) or die;
"""

PHPMAILER = """<?php
require 'libphp-phpmailer/autoload.php';
[, $port, $subject, $text] = $argv;
$letter = new PHPMailer\\PHPMailer\\PHPMailer(true);
$letter->isSMTP();
$letter->Host = '127.0.0.1';
$letter->Port = (int) $port;
$letter->SMTPAutoTLS = false;
$letter->setFrom('nas@isp.example');
$letter->addAddress('b@far.example');
$letter->Subject = $subject;
$letter->Body = $text;
$letter->addAttachment('scan.bin');
$letter->send();
"""

NODEMAILER = """
const [, , port, subject, text] = process.argv;
const relay = require("/opt/nodemailer/node_modules/nodemailer").createTransport({
  host: "127.0.0.1", port: Number(port), secure: false, ignoreTLS: true });
relay.sendMail({ from: "nas@isp.example", to: "b@far.example", subject, text, attachments: [{ path: "scan.bin" }] })
  .catch((error) => { console.error(error); process.exit(1); });
"""

# $PORT, $SUBJECT (the program's name is its last word) and $TEXT are set; the working directory has the files.
COMMANDS = {
    "swaks": 'swaks --server 127.0.0.1 --port $PORT --from nas@isp.example --to b@far.example --header "Subject: $SUBJECT"'
    ' --attach-type "text/plain; charset=utf-8" --attach-body "$TEXT"'
    " --attach-type application/octet-stream --attach @scan.bin",
    "msmtp": "msmtp --host=127.0.0.1 --port=$PORT --from=nas@isp.example --tls=off --auth=off b@far.example < letter-msmtp",
    "curl": "curl -sS smtp://127.0.0.1:$PORT/nas --mail-from nas@isp.example --mail-rcpt b@far.example"
    ' -H "From: nas@isp.example" -H "To: b@far.example" -H "Subject: $SUBJECT"'
    ' -F "=$TEXT;type=text/plain; charset=utf-8" -F "file=@scan.bin;type=application/octet-stream;encoder=base64"',
    "s-nail": 'printf "%s\\n" "$TEXT" | LC_ALL=C.UTF-8 s-nail -:/ -S v15-compat -S mta=smtp://127.0.0.1:$PORT -S smtp-auth=none'
    ' -r nas@isp.example -s "$SUBJECT" -a scan.bin b@far.example',
    "ssmtp": "printf 'mailhub=127.0.0.1:%s\\nFromLineOverride=YES\\nhostname=nas\\n' $PORT > ssmtp.conf;"
    " ssmtp -C ssmtp.conf -f nas@isp.example b@far.example < letter-ssmtp",
    "smtplib": '/usr/bin/python3 smtplib-sends.py $PORT "$SUBJECT" "$TEXT"',
    "mime-lite": 'perl mime-lite.pl $PORT "$SUBJECT" "$TEXT"',
    "phpmailer": 'php phpmailer.php $PORT "$SUBJECT" "$TEXT"',
    "sendemail": "sendemail -s 127.0.0.1:$PORT -o tls=no -f nas@isp.example -t b@far.example"
    ' -u "$SUBJECT" -m "$TEXT" -a scan.bin',
    "mutt": 'printf "%s\\n" "$TEXT" | LC_ALL=C.UTF-8 mutt -n -F /dev/null -e "set smtp_url=smtp://127.0.0.1:$PORT/"'
    ' -e "set from=nas@isp.example" -e "set ssl_starttls=no"'
    ' -e "set ssl_force_tls=no" -e "set copy=no"'
    ' -s "$SUBJECT" -a scan.bin -- b@far.example',
}

FILES: dict[str, str | bytes] = {
    "scan.bin": ATTACHMENT,
    "smtplib-sends.py": SMTPLIB,
    "mime-lite.pl": MIME_LITE,
    "phpmailer.php": PHPMAILER,
    "nodemailer.js": NODEMAILER,
}


def letter(name: str) -> str:
    attachment = email.message.MIMEPart()
    attachment.set_content(ATTACHMENT, maintype="application", subtype="octet-stream")
    return LETTER.format(subject=SUBJECT, name=name, text=TEXT, attachment=attachment.get_payload())


def script(commands: dict[str, str], port: int) -> str:
    """Runs each program; what it says and its exit code go into a file of its own."""
    lines = [f"cd /srv/peer; export HOME=/tmp PORT={port} TEXT='{TEXT}'"]
    for name, command in commands.items():
        lines.append(
            f"export SUBJECT='{SUBJECT} {name}'; ( {command} ) > said-{name} 2>&1 < /dev/null; echo exit $? >> said-{name}"
        )
    return "\n".join([*lines, "touch done", ""])


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory, postfix: Peer, paper: Papers) -> Iterator[RelayProcess]:
    account = {"username": USER, "password": PASSWORD, "sender_domains": ["isp.example"]}
    isp = {"host": "127.0.0.1", "port": postfix.port, "tls": "starttls", "ca_file": str(paper.ca_file), **account}
    with running(tmp_path_factory.mktemp("programs"), {"upstreams": {"isp": isp}}) as started:
        yield started


def sent(layer: str, commands: dict[str, str], relay: RelayProcess) -> Iterator[Inside]:
    """All programs of a layer have had their turn."""
    letters = {f"letter-{name}": letter(name) for name in commands}
    with instance(layer, script(commands, relay.port), {**FILES, **letters}) as inside:
        eventually(lambda: (inside.share / "done").exists() or inside.process.poll() is not None, 240, inside.log)
        yield inside


@pytest.fixture(scope="module")
def programs(relay: RelayProcess) -> Iterator[Inside]:
    yield from sent("programs", COMMANDS, relay)


@pytest.fixture(scope="module")
def node(relay: RelayProcess) -> Iterator[Inside]:
    yield from sent("nodemailer", {"nodemailer": 'node nodemailer.js $PORT "$SUBJECT" "$TEXT"'}, relay)


def arrived(name: str, inside: Inside, relay: RelayProcess, postfix: Peer) -> EmailMessage:
    """The letter of a program as it lies in the recipient's box."""
    said = (inside.share / f"said-{name}").read_text(errors="replace")
    assert said.rstrip().endswith("exit 0"), said

    def look() -> EmailMessage | None:
        for one in postfix.delivered():
            read = email.message_from_bytes(one.octets, policy=email.policy.default)
            if str(read["Subject"]).rpartition(" ")[2] == name:
                return read
        return None

    complaint: Callable[[], str] = lambda: f"{name} did not arrive\n{said}\n{relay.said()}"  # noqa: E731
    found = eventually(look, 30, complaint)
    assert found is not None
    return found


def hold(read: EmailMessage, name: str) -> None:
    """Subject, text and attachment say what was meant; the header is complete."""
    assert str(read["Subject"]).strip() == f"{SUBJECT} {name}"  # s-nail folds before the first word
    for field in ("Date", "From", "Message-ID"):
        assert len(read.get_all(field)) == 1, field
    assert [one.addr_spec for one in read["From"].addresses] == [FROM]
    leaves = [part for part in read.walk() if not part.is_multipart()]
    assert any(TEXT in part.get_content() for part in leaves if part.get_content_type() == "text/plain")
    digests = {hashlib.sha256(part.get_payload(decode=True)).hexdigest() for part in leaves}
    assert hashlib.sha256(ATTACHMENT).hexdigest() in digests


@pytest.mark.parametrize("name", COMMANDS)
def test_a_program_is_understood(programs: Inside, relay: RelayProcess, postfix: Peer, name: str) -> None:
    """What it sends arrives with its subject, text and attachment, and one each of Date, From and Message-ID."""
    hold(arrived(name, programs, relay, postfix), name)


def test_nodemailer_is_understood(node: Inside, relay: RelayProcess, postfix: Peer) -> None:
    """The library of the Node world, installed from npm."""
    hold(arrived("nodemailer", node, relay, postfix), "nodemailer")
