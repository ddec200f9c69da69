/*
 * request.c
 *		A request that has arrived, and its line in the log.
 */
#include "request.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* The next of the headers; false at the end. */
static bool
next_header(Slice *headers, Slice *name, Slice *value)
{
	Slice		line = slice_take(headers, '\n');

	if (line.len <= 1)
		return false;
	line.len--;
	*name = slice_take(&line, ':');
	while (line.len > 0 && (*line.data == ' ' || *line.data == '\t'))
	{
		line.data++;
		line.len--;
	}
	while (line.len > 0 && (line.data[line.len - 1] == ' ' || line.data[line.len - 1] == '\t'))
		line.len--;
	*value = line;
	return true;
}

/* Take a head to pieces, which point into it, but for the body; false if it is none. */
bool
request_parse(Slice head, Request *request)
{
	Slice		line = slice_take(&head, '\n');

	if (line.len > 0 && line.data[line.len - 1] == '\r')
		line.len--;
	request->method = slice_take(&line, ' ');
	request->path = slice_take(&line, ' ');
	request->version = line;
	request->headers = head;
	request->body = (Slice) {0};
	return request->path.len > 0 && request->path.data[0] == '/' &&
		slice_begins(line, (Slice) {"HTTP/1.", 7});
}

/* The first header of this name; no data if there is none. */
Slice
request_header(const Request *request, const char *wanted)
{
	Slice		rest = request->headers;
	Slice		name;
	Slice		value;

	while (next_header(&rest, &name, &value))
		if (name.len == strlen(wanted) && strncasecmp(name.data, wanted, name.len) == 0)
			return value;
	return (Slice) {0};
}

/* Write the line of a request, answered with this behaviour, to the log. */
void
request_log(int fd, int64_t now, uint64_t connection, const Request *request,
			const Behaviour *behaviour)
{
	static const char *const fields[] = {
		"webhook-id", "webhook-timestamp", "webhook-signature", "content-type"
	};
	static Buffer line;
	Slice		name;
	Slice		value;
	Slice		rest = request->headers;

	buffer_print(&line, "%" PRId64 "\t%" PRIu64 "\t", now, connection);
	buffer_add_escaped(&line, request->path);
	for (int i = 0; i < 4; i++)
	{
		buffer_add(&line, "\t", 1);
		buffer_add_escaped(&line, request_header(request, fields[i]));
	}
	if (behaviour->kind == OK)
		buffer_print(&line, "\t%d", behaviour->text ? 200 : 204);
	else if (behaviour->kind == STATUS)
		buffer_print(&line, "\t%" PRIu64, behaviour->number);
	else if (behaviour->kind == REDIRECT)
		buffer_print(&line, "\t302");
	else
		buffer_print(&line, "\t%s", behaviour_name(behaviour));
	buffer_print(&line, "\t:method: ");
	buffer_add_escaped(&line, request->method);
	while (next_header(&rest, &name, &value))
	{
		buffer_add(&line, " | ", 3);
		buffer_add_escaped(&line, name);
		buffer_add(&line, ": ", 2);
		buffer_add_escaped(&line, value);
	}
	buffer_add(&line, "\t", 1);
	buffer_add_escaped(&line, request->body);
	buffer_add(&line, "\n", 1);
	for (size_t done = 0; done < line.len;)
	{
		ssize_t		n = write(fd, line.data + done, line.len - done);

		if (n < 0)
			die("could not write the log: %s", strerror(errno));
		done += n;
	}
	buffer_clear(&line);
}
