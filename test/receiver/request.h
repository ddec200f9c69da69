/*
 * request.h
 *		A request that has arrived, and its line in the log.
 *
 * The log has a line for each request, written when the request has arrived, before it is
 * answered, by a single write(). Its fields, separated by tabs:
 *
 *	when it had arrived, microseconds since the Unix epoch
 *	number of the connection, from 1
 *	path
 *	webhook-id, webhook-timestamp, webhook-signature, content-type; empty if missing
 *	the status that answers it, or the name of the behaviour when there is more to say
 *	":method: POST", then all headers as "name: value", separated by " | "
 *	body
 *
 * In all of them stand \t, \n, \r and \\ for a tab, line feed, carriage return and backslash.
 */
#ifndef RECEIVER_REQUEST_H
#define RECEIVER_REQUEST_H

#include "rules.h"

typedef struct Request
{
	Slice		method;
	Slice		path;
	Slice		version;		/* "HTTP/1.1" */
	Slice		headers;
	Slice		body;
} Request;

extern bool request_parse(Slice head, Request *request);
extern Slice request_header(const Request *request, const char *name);
extern void request_log(int fd, int64_t now, uint64_t connection, const Request *request,
						const Behaviour *behaviour);

#endif							/* RECEIVER_REQUEST_H */
