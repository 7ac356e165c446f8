/* SPDX-License-Identifier: Apache-2.0 */
/* --help, the topics of help, and the manual's list of options. */
#include "config.h"

#include "cli/cli.h"

#include <string.h>

#define WIDTH  80
#define INDENT 6

static const char *const group_names[DS_GROUPS] = {
    [DS_GROUP_GENERAL] = "General",   [DS_GROUP_RANGE] = "Where to start and stop",
    [DS_GROUP_OUTPUT] = "Output",     [DS_GROUP_NETWORK] = "Network",
    [DS_GROUP_WRITING] = "Writing",   [DS_GROUP_SERVER] = "Server",
    [DS_GROUP_DECODING] = "Decoding",
};

/* --- topics ----------------------------------------------------------------------------------- */

static const struct {
    const char *name, *summary, *text;
} topics[] = {
    {"formats", "how data is printed",
     "raw       The bytes of the stream, nothing added. Not for JSON streams, whose bytes\n"
     "          depend on where the server cuts its answers.\n"
     "ndjson    JSON streams only: a message a line, in the writer's own bytes. Only\n"
     "          line breaks between tokens are left out.\n"
     "lines     The bytes, as lines, which --count counts. The last line of a closed\n"
     "          stream gets a line feed. Streams followed together come line by line, each\n"
     "          behind its name. JSON streams as ndjson.\n"
     "envelope  A JSON object a line: {\"offset\",\"index\",\"next\",\"received\", and \"json\",\n"
     "          \"text\" or \"base64\"}. For JSON streams one a message, else one an answer.\n"
     "          \"offset\" is where the answer began, \"index\" how many messages (or bytes)\n"
     "          after it this one lies, \"next\" the offset behind the answer, \"received\"\n"
     "          the time of receipt. Bytes that are not UTF-8 come as base64.\n"
     "sse       An event stream, as a server sends it: for each answer a data and a control\n"
     "          event. dstream decode --batches reads it. Text with carriage returns, or\n"
     "          that is not UTF-8, is refused.\n"
     "'%o %s\\n' A template, of anything with a % in it, as often as an envelope: %o the\n"
     "          offset, %i the index, %n the next offset, %s the payload, %S its length,\n"
     "          %t the time of receipt, %u the URL without secrets, %%, \\n \\t \\r \\0 \\\\.\n"
     "auto      ndjson for JSON streams, else raw. The default.\n"
     "\n"
     "Into a file or pipe the bytes are exact. On a terminal control characters are shown\n"
     "as \\xNN, and a binary stream is refused. Text that is followed by --live sse, which\n"
     "has to be asked for, is not exact: SSE cannot carry carriage returns or bytes that\n"
     "are not UTF-8.\n"},
    {"state", "state files",
     "A state file is one line of JSON with a checksum. It holds the stream's URL without\n"
     "secrets, how far the stream was taken, what the output file looked like then, and a\n"
     "hash of what was last delivered, which is compared with the stream before going on.\n"
     "\n"
     "export keeps FILE.dstate beside its output. After any interruption the same command\n"
     "goes on where it was: each byte is in the file once. The file is cut back to what\n"
     "the state says. A file that was changed, and a stream that was made anew, are\n"
     "refused (13), with nothing touched; so is a second export into the same file (73).\n"
     "FILE.lock and FILE.dstate.lock are locked meanwhile, and stay.\n"
     "--reset forgets the position, so that the stream is read anew: with --overwrite, or\n"
     "with --append behind what the state speaks of.\n"
     "\n"
     "export --directory has one state for all its files, DIR/export.dstate. With\n"
     "--rotate-size or --rotate-time the output is FILE.partial until it is finished.\n"
     "\n"
     "export --sqlite keeps no file beside the database: how far each stream was taken is\n"
     "in its table dstream_streams, which changes with the rows in one transaction. What\n"
     "the manual says of it stands under DATABASES.\n"
     "\n"
     "export --exec and --ack-fd hand the stream to another program, in portions; the\n"
     "state moves behind each once that is done. One that was under way when dstream was\n"
     "killed comes again, and is told by its position: see the manual, HANDING OUT.\n"
     "\n"
     "read and tail with --state print again what was printed after the last state: at\n"
     "least once, since nothing can be taken back from a pipe.\n"
     "\n"
     "A stream that was deleted and made anew, and is the same where the hash was taken,\n"
     "cannot be told from the old one.\n"
     "\n"
     "record is as export is. What writes a stream keeps a journal instead: help journal.\n"
     "\n"
     "dstream state show FILE says what a state or a journal holds; --json for scripts.\n"},
    {"journal", "journals of what is written",
     "write --producer ID --state FILE keeps a journal: what is not acknowledged yet, and\n"
     "how much of the input was taken in. After any interruption, a power failure\n"
     "included, the same command sends the one again, unchanged, and goes on behind the\n"
     "other: each message is stored once.\n"
     "\n"
     "A file is continued by itself. A pipe has to be fed from the byte that state show\n"
     "names (\"input taken in\"), since what came before it is the journal's. Another input\n"
     "than the one that was begun with is refused (13) where that can be seen.\n"
     "\n"
     "What became of each message that was not stored is said: it was not, or nobody knows\n"
     "(16). What a run could not tell any more, the next one tells, and does only that.\n"
     "\n"
     "copy, and replay --to URL, keep such a journal in the --state FILE, and in\n"
     "FILE.source where what they write came from. The same command goes on; one of the\n"
     "two files without the other is refused (13).\n"
     "\n"
     "Two writers cannot share a journal (73). FILE.lock is locked meanwhile, and stays,\n"
     "also where the first run has come to nothing.\n"
     "\n"
     "dstream state show FILE says what a journal holds; --json for scripts.\n"},
    {"exit-codes", "what the exit code says",
     "  0  the end, closed, or a limit that was asked for was reached\n"
     "  1  another failure\n"
     "  2  wrong usage\n"
     "  3  stopped before --require held, or what wait waits for\n"
     " 10  gone: no longer kept, or deleted\n"
     " 11  conflict: the stream is closed, or its type or configuration differs\n"
     " 12  another writer has taken over under the same producer id\n"
     " 13  the stream was made anew, or a state fits neither stream nor file\n"
     " 14  the server refused the request (400, 405, 413, 415, 501)\n"
     " 15  over one of the limits of dstream\n"
     " 16  whether a write was stored is not known\n"
     " 65  the input is not valid for the stream's type, or an acknowledgement is wrong\n"
     " 66  no such stream, or no such input file\n"
     " 69  no connection, TLS trouble, or the server failed\n"
     " 73  the output file exists, or is locked\n"
     " 74  a file could not be read or written, or the command of --exec has failed\n"
     " 75  busy or too slow: try again later\n"
     " 76  the server broke the protocol\n"
     " 77  not allowed (401, 403)\n"
     "\n"
     "INT, TERM and PIPE end dstream as these signals do. Where retries are used up, the\n"
     "last failure decides. With several streams the first failure in the order of the\n"
     "arguments counts.\n"},
    {"environment", "variables that are looked at",
     "DSTREAM_URL  The base URL that names of streams without a scheme are joined to.\n"
     "             --url goes before it.\n"
     "STREAM_URL   The same, where DSTREAM_URL is not set.\n"
     "STREAM_AUTH  The value of an Authorization header, as Bearer TOKEN. --header,\n"
     "             --auth-file and --auth-command go before it.\n"
     "\n"
     "Headers are sent to one origin only: that of the base URL where there is one, else\n"
     "that of the first URL.\n"
     "\n"
     "http_proxy, HTTPS_PROXY, ALL_PROXY, NO_PROXY\n"
     "             Proxies, as curl has them; also for servers on this machine, unless\n"
     "             NO_PROXY names those.\n"
     "NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID, JOURNAL_STREAM\n"
     "             Set by systemd, which is told when dstream is ready, what it does and\n"
     "             that all is well, and whose journal gets lines with priorities.\n"
     "TERM         There is no status line where it is not set, or is dumb.\n"},
    {"signals", "what signals do",
     "INT, TERM  Stop reading, write what has come, save the state, and die of the signal.\n"
     "           The second one ends dstream at once. write stops reading its input, gives\n"
     "           what it has read two seconds to be stored, and says what was. The command\n"
     "           of export --exec gets the same signal, and 5 s later KILL.\n"
     "HUP        export, and read and tail with --state: save the state now, and go on. An\n"
     "           export that is rotated begins its next segment. Credentials are read\n"
     "           again (--auth-file, --auth-command).\n"
     "           serve ends.\n"
     "USR1       read, tail, export and write --producer print a status line on standard\n"
     "           error.\n"
     "PIPE       Who reads the output has gone: dstream ends quietly, also when no more\n"
     "           data comes.\n"},
};
#define TOPICS (sizeof topics / sizeof *topics)

/* --- options ---------------------------------------------------------------------------------- */

/* Words wrapped at the width, each line indented. */
static void add_wrapped(struct ds_buf *out, const char *text)
{
    size_t column = 0;
    while (*text) {
        size_t n = strcspn(text, " ");
        if (column > 0 && column + 1 + n > WIDTH) {
            ds_buf_addc(out, '\n');
            column = 0;
        }
        if (column == 0)
            ds_buf_addf(out, "%*s", INDENT, "");
        else
            ds_buf_addc(out, ' ');
        column += (column == 0 ? INDENT : 1) + n;
        ds_buf_add(out, text, n);
        text += n + (text[n] == ' ');
    }
    ds_buf_addc(out, '\n');
}

static void add_option(struct ds_buf *out, const struct ds_option *o)
{
    ds_buf_adds(out, "  ");
    if (o->letter)
        ds_buf_addf(out, "-%c, ", o->letter);
    ds_buf_addf(out, "--%s", o->name);
    if (o->arg)
        ds_buf_addf(out, o->optional ? "[=%s]" : " %s", o->arg);
    ds_buf_addc(out, '\n');
    add_wrapped(out, o->help);
}

static void add_options(struct ds_buf *out, unsigned commands)
{
    for (unsigned g = DS_GROUP_RANGE; g <= DS_GROUPS; g++) {
        enum ds_option_group group = g % DS_GROUPS; /* the general ones come last */
        bool any = false;
        for (size_t i = 0; i < ds_option_count; i++) {
            const struct ds_option *o = &ds_option_table[i];
            if (o->group != group || !(o->commands & commands))
                continue;
            if (!any)
                ds_buf_addf(out, "\n%s\n", group_names[group]);
            any = true;
            add_option(out, o);
        }
    }
}

static void add_command(struct ds_buf *out, const struct ds_command_info *info)
{
    ds_buf_addf(out, "usage: dstream %s%s%s [OPTION...]\n\n%s: %s.\n", info->name,
                *info->usage ? " " : "", info->usage, info->name, info->summary);
    add_options(out, info->command);
}

static void add_general(struct ds_buf *out)
{
    ds_buf_adds(out, "usage: dstream COMMAND [ARGUMENT...] [OPTION...]\n"
                     "\n"
                     "Reads, tails, exports and writes Durable Streams.\n"
                     "\n"
                     "Commands\n");
    for (size_t i = 0; i < DS_COMMANDS; i++)
        ds_buf_addf(out, "  %-8s %s\n", ds_command_table[i].name, ds_command_table[i].summary);
    ds_buf_adds(out, "\nTopics of help\n");
    for (size_t i = 0; i < TOPICS; i++)
        ds_buf_addf(out, "  %-12s %s\n", topics[i].name, topics[i].summary);
    ds_buf_adds(out, "\n"
                     "dstream COMMAND --help lists what a command takes.\n");
}

bool ds_help_add(struct ds_buf *out, const char *name)
{
    if (!name) {
        add_general(out);
        return true;
    }
    const struct ds_command_info *info = ds_command_find(name);
    if (info)
        add_command(out, info);
    else if (strcmp(name, "manual-options") == 0) /* not listed: for who maintains the manual */
        ds_help_manual(out);
    for (size_t i = 0; i < TOPICS; i++) {
        if (strcmp(topics[i].name, name) == 0)
            ds_buf_adds(out, topics[i].text);
    }
    return out->len > 0;
}

/* --- the manual ------------------------------------------------------------------------------- */

/* Text as roff wants it: hyphens that are typed as they stand, no backslashes. */
static void add_roff(struct ds_buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '\\')
            ds_buf_adds(out, "\\e");
        else if (*text == '-')
            ds_buf_adds(out, "\\-");
        else
            ds_buf_addc(out, *text);
    }
}

static void add_manual_commands(struct ds_buf *out, unsigned commands)
{
    const char *before = "(";
    for (size_t i = 0; i < DS_COMMANDS; i++) {
        if (commands & ds_command_table[i].command) {
            ds_buf_addf(out, "%s%s", before, ds_command_table[i].name);
            before = ", ";
        }
    }
    ds_buf_adds(out, ")\n");
}

static void add_manual_option(struct ds_buf *out, const struct ds_option *o)
{
    ds_buf_adds(out, ".TP\n.BR ");
    if (o->letter)
        ds_buf_addf(out, "\\-%c \", \" ", o->letter);
    ds_buf_adds(out, "\\-\\-");
    add_roff(out, o->name);
    if (o->arg)
        ds_buf_addf(out, o->optional ? " [=\\fI%s\\fR]" : " \" \\fI%s\\fR\"", o->arg);
    ds_buf_addc(out, '\n');
    add_roff(out, o->help);
    ds_buf_addc(out, '\n');
    if (o->group != DS_GROUP_GENERAL)
        add_manual_commands(out, o->commands);
}

void ds_help_manual(struct ds_buf *out)
{
    for (unsigned group = 0; group < DS_GROUPS; group++) {
        ds_buf_addf(out, ".SS %s\n", group_names[group]);
        for (size_t i = 0; i < ds_option_count; i++) {
            if (ds_option_table[i].group == group)
                add_manual_option(out, &ds_option_table[i]);
        }
    }
}
