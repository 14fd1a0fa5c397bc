/* load: the devices of a measurement.  Sends messages as a NAS does and writes one line for each.
 *
 *     load PORT OUT RUN MESSAGES SIZE SENDERS PER_CONNECTION GAP_US [HOLD]
 *
 * PER_CONNECTION 0: all in one session.  GAP_US: pause of a sender after each message.  HOLD: so many more connections stay
 * open and say nothing.  OUT gets   NUMBER START ACCEPTED CODE TRIES LENGTH CRC   (times: CLOCK_MONOTONIC in ns; START: before
 * connect, or before MAIL in a session; ACCEPTED: the 250 after the final dot).  No pipelining.  A connection or message that
 * is refused with 4yz is tried again for 60 seconds; START stays.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "letter.h"

typedef long long ns;
struct fate { ns start, accepted; int code, tries; unsigned long length, crc; };

static struct sockaddr_in relay = {.sin_family = AF_INET};
static unsigned run, messages, size, per_connection, gap_us;
static struct fate *fates;
static atomic_uint turn;
static char *rest;             /* the body after its first line: the same for all messages */
static size_t rest_length;
static unsigned long rest_crc;

static ns now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000000000ll + t.tv_nsec; }

/* What mail software gets wrong: stuffed dots, 8-bit text, blanks at the end of a line, a line of 990 octets. */
static void compose(void) {
    static const char *const lines[] = {
        "rsync: sent 1,234,567 bytes  received 8,910 bytes  total size is 99,999,999\r\n", "..a dot at the start of a line\r\n",
        "blanks at the end  \t \r\n", "\xe3\x83\x90\xe3\x83\x83\xe3\x82\xaf\xe3\x82\xa2\xe3\x83\x83\xe3\x83\x97 \xc3\xbc\xc3\xb6\r\n", "\r\n",
        "/volume1/photo/2026/IMG_0001.JPG ................................. ok\r\n", "From here on nothing was changed.\r\n"};
    rest = malloc(size + 2048);
    memset(rest, 'x', 988);
    memcpy(rest + 988, "\r\n", 2);
    rest_length = size > 1500 ? 990 : 0;
    for (unsigned i = 0; rest_length < size - 80 || !rest_length; i++) {
        size_t n = strlen(lines[i % 7]);
        memcpy(rest + rest_length, lines[i % 7], n), rest_length += n;
    }
    rest_crc = crc32(0, (unsigned char *)rest, rest_length);
}

struct session { int fd; size_t have; char in[2048]; };

/* The code of the next reply, 0 if the line is lost. */
static int reply(struct session *s) {
    for (;;) {
        char *end;
        while ((end = memchr(s->in, '\n', s->have))) {
            int code = atoi(s->in);
            bool last = end - s->in < 4 || s->in[3] != '-';
            s->have -= end + 1 - s->in;
            memmove(s->in, end + 1, s->have);
            if (last) return code;
        }
        ssize_t n = s->have < sizeof s->in ? read(s->fd, s->in + s->have, sizeof s->in - s->have) : 0;
        if (n <= 0) return 0;
        s->have += n;
    }
}

static int ask(struct session *s, const char *command) {
    size_t n = strlen(command);
    return write(s->fd, command, n) == (ssize_t)n ? reply(s) : 0;
}

static int greet(struct session *s) {
    int on = 1;
    s->have = 0;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(s->fd, (struct sockaddr *)&relay, sizeof relay)) return 421;
    int code = reply(s);
    return code == 220 ? ask(s, "EHLO nas.bench.test\r\n") : code;
}

static void leave(struct session *s) {
    if (s->fd < 0) return;
    ask(s, "QUIT\r\n");
    close(s->fd);
    s->fd = -1;
}

static int transaction(struct session *s, unsigned number, struct fate *f) {
    char head[1024], first[128];
    int code;
    if ((code = ask(s, "MAIL FROM:<nas@bench.test>\r\n")) != 250) return code;
    if ((code = ask(s, "RCPT TO:<admin@example.net>\r\n")) != 250) return code;
    if ((code = ask(s, "DATA\r\n")) != 354) return code;
    int one = snprintf(first, sizeof first, "Job %x-%u ended.\r\n", run, number);
    int n = snprintf(head, sizeof head,
                     "From: NAS <nas@bench.test>\r\nTo: admin@example.net\r\n" SUBJECT "\r\n"
                     "Date: %s\r\nMessage-ID: <%x.%u@nas.bench.test>\r\nMIME-Version: 1.0\r\n"
                     "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n%s",
                     run, number, getenv("BENCH_DATE"), run, number, first);
    f->length = one + rest_length;
    f->crc = crc32_combine(crc32(0, (unsigned char *)first, one), rest_crc, rest_length);
    struct iovec parts[] = {{head, n}, {rest, rest_length}, {".\r\n", 3}};
    for (struct iovec *p = parts; p < parts + 3;) {
        ssize_t w = writev(s->fd, p, parts + 3 - p);
        if (w <= 0) return 0;
        for (; p < parts + 3 && (size_t)w >= p->iov_len; p++) w -= p->iov_len;
        if (p < parts + 3) p->iov_base = (char *)p->iov_base + w, p->iov_len -= w;
    }
    return reply(s);
}

static void *sender(void *unused) {
    struct session s = {.fd = -1};
    unsigned number, in_session = 0;
    while ((number = turn++) < messages) {
        struct fate *f = &fates[number];
        f->start = now();
        do {
            f->tries++;
            f->code = s.fd < 0 ? (in_session = 0, greet(&s)) : 250;
            if (f->code == 250) f->code = transaction(&s, number, f);
            if (f->code == 250) break;
            if (s.fd >= 0) close(s.fd), s.fd = -1;
            usleep(100000);
        } while (f->code && f->code < 500 && now() - f->start < 60000000000ll);
        f->accepted = now();
        if (s.fd >= 0 && per_connection && ++in_session >= per_connection) leave(&s);
        if (gap_us) usleep(gap_us);
    }
    leave(&s);
    return unused;
}

int main(int argc, char **argv) {
    if (argc < 9) return fprintf(stderr, "load PORT OUT RUN MESSAGES SIZE SENDERS PER_CONNECTION GAP_US [HOLD]\n"), 2;
    signal(SIGPIPE, SIG_IGN);
    relay.sin_port = htons(atoi(argv[1]));
    relay.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    run = strtoul(argv[3], NULL, 16), messages = atoi(argv[4]), size = atoi(argv[5]);
    per_connection = atoi(argv[7]), gap_us = atoi(argv[8]);
    char date[64];
    time_t today = time(NULL);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S +0000", gmtime(&today));
    setenv("BENCH_DATE", date, 1);
    fates = calloc(messages, sizeof *fates);
    compose();
    int held = argc > 9 ? atoi(argv[9]) : 0, refused = 0;
    for (int i = 0; i < held; i++) {
        struct session s;
        if (greet(&s) != 250) refused++;
    }
    if (held) fprintf(stderr, "held %d refused %d\n", held, refused);
    int senders = atoi(argv[6]);
    pthread_t *threads = calloc(senders, sizeof *threads);
    for (int i = 0; i < senders; i++) if (pthread_create(&threads[i], NULL, sender, NULL)) return perror("load"), 1;
    for (int i = 0; i < senders; i++) pthread_join(threads[i], NULL);
    FILE *to = fopen(argv[2], "w");
    if (!to) return perror(argv[2]), 1;
    for (unsigned i = 0; i < messages; i++) {
        struct fate *f = &fates[i];
        fprintf(to, "%u %lld %lld %d %d %lu %lx\n", i, f->start, f->accepted, f->code, f->tries, f->length, f->crc);
    }
    return fclose(to) ? 1 : 0;
}
