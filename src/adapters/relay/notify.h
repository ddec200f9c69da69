/*
 * notify.h
 *		What a committing transaction tells the relay.
 */
#ifndef BANK_RELAY_NOTIFY_H
#define BANK_RELAY_NOTIFY_H

/* Is this process the relay's worker? */
extern bool bank_relay_is_worker;

extern void bank_relay_note_events(void);
extern void bank_relay_note_changes(void);
extern void bank_relay_note_restored(void);
extern void bank_relay_note_stop(bool stop);

/* shared.c */
extern void bank_relay_forget(Oid database);

#endif							/* BANK_RELAY_NOTIFY_H */
