# bank_money in binary: COPY round trip, and binary input that does not come from
# bank.money_send is refused as its text would be.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('money');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION banking');

my $dir = PostgreSQL::Test::Utils::tempdir;
my $int64_min = "\x80" . "\0" x 7;

# Load a binary file into table "loaded"; what psql returned.
sub load_file
{
	my ($file) = @_;

	return $node->psql('postgres', "\\set VERBOSITY verbose\n\\copy loaded from '$file' (format binary)");
}

# A COPY file of one row with one field.
sub write_file
{
	my ($name, $field) = @_;
	my $file = "$dir/$name";

	open my $handle, '>:raw', $file or die "$file: $!";
	print $handle "PGCOPY\n\xff\r\n\0", pack('NN', 0, 0), pack('n', 1), pack('N/a', $field),
	  pack('n', 0xFFFF);
	close $handle or die "$file: $!";
	return $file;
}

# The field of these minor units (signed 64 bits, high and low half), letters and decimals.
sub field
{
	my ($minor, $currency, $exponent) = @_;

	return pack('q> a3 C', $minor, $currency, $exponent);
}

# Round trip: every kind of exponent, both ends of the range
$node->safe_psql(
	'postgres', q{
CREATE TABLE original AS
  SELECT bank_money(trunc(amount, decimals), currency) AS m
    FROM (VALUES ('JPY', 0), ('HTG', 2), ('USD', 2), ('KWD', 3), ('CLF', 4)) AS c(currency, decimals),
         LATERAL (SELECT ((2::numeric ^ power) - least(power, 1)) / 10::numeric ^ decimals AS amount
                    FROM generate_series(0, 63) AS power) AS a
   UNION ALL SELECT NULL;
CREATE TABLE loaded (m bank_money);
});
$node->safe_psql('postgres', "\\copy original to '$dir/original' (format binary)");
my ($status) = load_file("$dir/original");
is($status, 0, 'a binary copy is loaded');
is( $node->safe_psql(
		'postgres',
		'SELECT count(*), count(m), count(DISTINCT m) FROM loaded'),
	$node->safe_psql(
		'postgres',
		'SELECT count(*), count(m), count(DISTINCT m) FROM original'),
	'with as many rows');
is( $node->safe_psql(
		'postgres',
		'(TABLE original EXCEPT ALL TABLE loaded) UNION ALL (TABLE loaded EXCEPT ALL TABLE original)'),
	'',
	'and the same values');
is($node->safe_psql('postgres', q{SELECT max(m) FROM loaded WHERE bank_currency(m) = 'JPY'}),
	'9223372036854775807 JPY', 'up to the greatest');

# What a client may write by hand
$node->safe_psql('postgres', 'TRUNCATE loaded');
is((load_file(write_file('valid', field(123456, 'KWD', 3))))[0], 0, 'a valid field is loaded');
is($node->safe_psql('postgres', 'TABLE loaded'), '123.456 KWD', 'as the value it stands for');
$node->safe_psql('postgres', 'TRUNCATE loaded');

# and what is refused
my @refused = (
	[ 'negative', field(-1, 'HTG', 2), 'BK008: Invalid amount', 'The amount is negative\.' ],
	[ 'most negative', $int64_min . "HTG\x02", 'BK008: Invalid amount', 'The amount is negative\.' ],
	[ 'unknown currency', field(1, 'XXX', 2), 'BK014: Unknown currency', '"XXX" is not a currency' ],
	[ 'small letters', field(1, 'htg', 2), 'BK014: Unknown currency', '"htg" is not a currency' ],
	[ 'no letters', field(1, "\0\0\0", 0), 'BK014: Unknown currency', 'three letters' ],
	[ 'invalid encoding', field(1, "\xC3\x28\xFF", 2), 'BK014: Unknown currency', 'three letters' ],
	[ 'fewer decimals', field(1, 'HTG', 0), 'BK008: Invalid amount', 'The exponent 0 is not that of HTG, which is 2\.' ],
	[ 'more decimals', field(1, 'JPY', 255), 'BK008: Invalid amount', 'The exponent 255 is not that of JPY, which is 0\.' ],
	[ 'too short', substr(field(1, 'HTG', 2), 0, 11), '08P01: ', 'no data left in message' ],
	[ 'empty', '', '08P01: ', 'insufficient data left in message' ],
	[ 'too long', field(1, 'HTG', 2) . "\0", '22P03: ', 'incorrect binary data format' ],
	[ 'the sixteen stored bytes', field(1, 'HTG', 2) . "\0" x 4, '22P03: ', 'incorrect binary data format' ]);

for my $case (@refused)
{
	my ($name, $bytes, $error, $detail) = @$case;
	my ($code, undef, $stderr) = load_file(write_file('refused', $bytes));

	isnt($code, 0, "$name: refused");
	like($stderr, qr/ERROR:  $error/, "$name: its error");
	like($stderr, qr/$detail/, "$name: in words");
}
is($node->safe_psql('postgres', 'SELECT count(*) FROM loaded'), '0', 'nothing of it was loaded');

$node->stop;
done_testing();
