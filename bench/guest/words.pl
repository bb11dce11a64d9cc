# Counts the words of a text, some times over, and prints the commonest and a sum over all of them.
# usage: perl words.pl TIMES FILE
use strict;
use warnings;

my ($times, $file) = @ARGV;
my (%count, %by_length);
for my $time (1 .. $times) {
    open(my $in, '<', $file) or die "$file: $!\n";
    while (my $line = <$in>) {
        $line =~ s/\s*#.*//;
        for my $word ($line =~ /([A-Za-z_]\w+)/g) {
            $count{lc $word}++;
            push @{$by_length{length $word}}, $word if $time == 1;
        }
    }
    close $in;
}
my @common = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
print "$_ $count{$_}\n" for grep { defined } @common[0 .. 19];
for my $length (sort { $a <=> $b } keys %by_length) {
    my %seen;
    my @different = grep { !$seen{$_}++ } @{$by_length{$length}};
    print "$length ", scalar @different, ' ', join('', map { substr $_, 0, 1 } sort @different), "\n";
}
