/*
 * principal.h
 *		Who is calling, for the files of the adapters.
 */
#ifndef BANK_STORE_PRINCIPAL_H
#define BANK_STORE_PRINCIPAL_H

/* Subjects are kept up to this many bytes, less one. */
#define BANK_SUBJECT_TEXT 256

extern void bank_principal_init(void);
extern const char *bank_principal_subject(void);
extern const char *bank_principal_plain_subject(const char *session);

#endif							/* BANK_STORE_PRINCIPAL_H */
