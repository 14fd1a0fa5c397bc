/* sink: the upstream of a measurement.  Takes mail, checks who brings it, and writes one line for each message.
 *
 *     sink PORT OUT [CERT KEY AUTH]      AUTH: the base64 word of AUTH PLAIN; with these three STARTTLS and login are demanded
 *
 * OUT gets   c CONNECTION TLS                                    a connection has said EHLO as it will send
 *            m RUN NUMBER WHEN LENGTH CRC CONNECTION             a message; WHEN: CLOCK_MONOTONIC in ns at its final dot
 * LENGTH and CRC are of the body as it went over the wire (dots stuffed), without the final dot.  A message whose Subject is
 * not, octet for octet, what load.c wrote gets the run `?`.  One thread for each connection; loopback only.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "letter.h"

static SSL_CTX *tls;
static const char *auth;
static int out;
static int connections;

struct line { int fd; SSL *ssl; int number; size_t from, to, owed; char in[1 << 16], answers[4096]; };

static bool push(struct line *c) {
    size_t n = c->owed;
    c->owed = 0;
    for (size_t sent = 0; sent < n;) {
        int w = c->ssl ? SSL_write(c->ssl, c->answers + sent, n - sent) : (int)write(c->fd, c->answers + sent, n - sent);
        if (w <= 0) return false;
        sent += w;
    }
    return true;
}

/* Answers wait until the client has nothing more on the way: so pipelined commands are answered together. */
static void say(struct line *c, const char *text) {
    size_t n = strlen(text);
    if (c->owed + n > sizeof c->answers) push(c);
    memcpy(c->answers + c->owed, text, n);
    c->owed += n;
}

static bool fill(struct line *c) {
    if (c->owed && !push(c)) return false;
    if (c->from) memmove(c->in, c->in + c->from, c->to - c->from), c->to -= c->from, c->from = 0;
    if (c->to == sizeof c->in) return false;   /* a line without an end */
    int n = c->ssl ? SSL_read(c->ssl, c->in + c->to, sizeof c->in - c->to) : (int)read(c->fd, c->in + c->to, sizeof c->in - c->to);
    if (n <= 0) return false;
    c->to += n;
    return true;
}

/* The next line with its LF, valid until the next fill(). */
static char *next(struct line *c, size_t *length) {
    for (;;) {
        char *start = c->in + c->from, *end = memchr(start, '\n', c->to - c->from);
        if (end) return *length = end + 1 - start, c->from += *length, start;
        if (!fill(c)) return NULL;
    }
}

static void note(const char *format, ...) {
    char text[256];
    va_list a;
    va_start(a, format);
    int n = vsnprintf(text, sizeof text, format, a);
    va_end(a);
    if (write(out, text, n) != n) _exit(3);    /* O_APPEND: one line, one write */
}

static bool content(struct line *c) {
    unsigned run = 0, number = 0;
    bool known = false;
    char *line, expected[128];
    size_t n;
    do {
        if (!(line = next(c, &n))) return false;
        if (n > 8 && !strncasecmp(line, "Subject:", 8)) {
            known = sscanf(line, SUBJECT, &run, &number) == 2;
            int wanted = snprintf(expected, sizeof expected, SUBJECT "\r\n", run, number);
            known = known && n == (size_t)wanted && !memcmp(line, expected, n);
        }
    } while (!(n == 2 && line[0] == '\r'));
    unsigned long crc = crc32(0, NULL, 0), length = 0;
    for (bool over = false; !over;) {
        char *start = c->in + c->from, *at = start, *stop = c->in + c->to, *end;
        while ((end = memchr(at, '\n', stop - at))) {
            if (end - at == 2 && at[0] == '.' && at[1] == '\r') { over = true; break; }
            at = end + 1;
        }
        crc = crc32(crc, (unsigned char *)start, at - start);
        length += at - start;
        c->from = at - c->in + (over ? 3 : 0);
        if (!over && !fill(c)) return false;
    }
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    if (known) note("m %x %u %lld %lu %lx %d\n", run, number, t.tv_sec * 1000000000ll + t.tv_nsec, length, crc, c->number);
    else note("m ? 0 %lld %lu %lx %d\n", t.tv_sec * 1000000000ll + t.tv_nsec, length, crc, c->number);
    say(c, "250 2.0.0 taken\r\n");
    return true;
}

static bool upgrade(struct line *c) {
    say(c, "220 2.0.0 go on\r\n");
    if (!push(c)) return false;
    c->from = c->to = 0;
    c->ssl = SSL_new(tls);
    return SSL_set_fd(c->ssl, c->fd) && SSL_accept(c->ssl) == 1;
}

static void serve(struct line *c) {
    bool in = !tls, told = false;
    char *line;
    size_t n;
    say(c, "220 sink.bench.test ESMTP\r\n");
    while ((line = next(c, &n))) {
        if (!strncasecmp(line, "EHLO", 4) || !strncasecmp(line, "HELO", 4)) {
            say(c, "250-sink.bench.test\r\n250-PIPELINING\r\n250-SIZE 209715200\r\n250-8BITMIME\r\n");
            say(c, !tls ? "" : c->ssl ? "250-AUTH PLAIN LOGIN\r\n" : "250-STARTTLS\r\n");
            say(c, "250 ENHANCEDSTATUSCODES\r\n");
            if (!told && (c->ssl || !tls)) note("c %d %d\n", c->number, c->ssl != NULL), told = true;
        } else if (tls && !c->ssl && !strncasecmp(line, "STARTTLS", 8)) {
            if (!upgrade(c)) return;
        } else if (c->ssl && !strncasecmp(line, "AUTH PLAIN ", 11)) {
            in = n == 13 + strlen(auth) && !memcmp(line + 11, auth, strlen(auth));
            say(c, in ? "235 2.7.0 welcome\r\n" : "535 5.7.8 wrong name or password\r\n");
        } else if (!strncasecmp(line, "MAIL", 4) || !strncasecmp(line, "RCPT", 4)) {
            say(c, in ? "250 2.1.0 ok\r\n" : "530 5.7.0 STARTTLS and AUTH first\r\n");
        } else if (!strncasecmp(line, "DATA", 4)) {
            say(c, in ? "354 go on\r\n" : "503 5.5.1 MAIL first\r\n");
            if (in && !content(c)) return;
        } else if (!strncasecmp(line, "QUIT", 4)) {
            say(c, "221 2.0.0 bye\r\n");
            push(c);
            return;
        } else {
            say(c, !strncasecmp(line, "RSET", 4) || !strncasecmp(line, "NOOP", 4) ? "250 2.0.0 ok\r\n" : "502 5.5.1 no\r\n");
        }
    }
}

static void *attend(void *given) {
    struct line *c = given;
    serve(c);
    if (c->ssl) SSL_free(c->ssl);
    close(c->fd);
    free(c);
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 3 && argc != 6) return fprintf(stderr, "sink PORT OUT [CERT KEY AUTH]\n"), 2;
    signal(SIGPIPE, SIG_IGN);
    out = open(argv[2], O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (argc == 6) {
        tls = SSL_CTX_new(TLS_server_method());
        auth = argv[5];
        if (SSL_CTX_use_certificate_chain_file(tls, argv[3]) != 1 || SSL_CTX_use_PrivateKey_file(tls, argv[4], SSL_FILETYPE_PEM) != 1)
            return fprintf(stderr, "sink: no certificate\n"), 1;
    }
    int door = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (out < 0 || bind(door, (struct sockaddr *)&here, sizeof here) || listen(door, 512)) return perror("sink"), 1;
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&small, 256 << 10);
    for (;;) {
        int fd = accept4(door, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) continue;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct line *c = calloc(1, sizeof *c);
        *c = (struct line){.fd = fd, .number = ++connections};
        pthread_t t;
        if (pthread_create(&t, &small, attend, c)) close(fd), free(c);
    }
}
