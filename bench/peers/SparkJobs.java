import java.io.Serializable;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.io.BytesWritable;
import org.apache.hadoop.io.LongWritable;
import org.apache.hadoop.io.NullWritable;
import org.apache.hadoop.io.Text;
import org.apache.hadoop.mapreduce.lib.input.FixedLengthInputFormat;
import org.apache.hadoop.mapreduce.lib.input.TextInputFormat;
import org.apache.hadoop.mapreduce.lib.output.TextOutputFormat;
import org.apache.spark.SparkConf;
import org.apache.spark.api.java.JavaPairRDD;
import org.apache.spark.api.java.JavaSparkContext;
import scala.Tuple2;

/**
 * The jobs of bench/run for Spark, on RDDs as its own examples write them:
 *
 * <p>SparkJobs wordcount|grep|sort INPUT OUTPUT PARTITIONS REPEATS [PATTERN]
 *
 * <p>The job runs REPEATS times in one context, each time into an OUTPUT that
 * did not exist. Prints "job_seconds" and the time of the last.
 */
public final class SparkJobs {
  private SparkJobs() {}

  /** The 10 bytes of a record's key, as two numbers. */
  public static final class Key implements Comparable<Key>, Serializable {
    final long high;
    final short low;

    Key(byte[] bytes) {
      long number = 0;
      for (int i = 0; i < 8; ++i) number = number << 8 | (bytes[i] & 0xff);
      high = number;
      low = (short) ((bytes[8] & 0xff) << 8 | (bytes[9] & 0xff));
    }

    byte[] bytes() {
      byte[] bytes = new byte[Records.KEY_BYTES];
      for (int i = 0; i < 8; ++i) bytes[i] = (byte) (high >>> (56 - 8 * i));
      bytes[8] = (byte) (low >>> 8);
      bytes[9] = (byte) low;
      return bytes;
    }

    @Override
    public int compareTo(Key other) {
      int order = Long.compareUnsigned(high, other.high);
      return order != 0
          ? order
          : Integer.compare(low & 0xffff, other.low & 0xffff);
    }

    @Override
    public boolean equals(Object other) {
      return other instanceof Key && compareTo((Key) other) == 0;
    }

    @Override
    public int hashCode() {
      return Long.hashCode(high) * 31 + low;
    }
  }

  private static JavaPairRDD<LongWritable, Text> lines(
      JavaSparkContext context, String input) {
    return context.newAPIHadoopFile(input, TextInputFormat.class,
        LongWritable.class, Text.class, context.hadoopConfiguration());
  }

  private static void wordcount(JavaSparkContext context, String input,
      String output, int partitions) {
    lines(context, input)
        .values()
        .flatMapToPair(line -> {
          List<Tuple2<String, Long>> words = new ArrayList<>();
          Words.each(line, (bytes, start, length) ->
              words.add(new Tuple2<>(new String(bytes, start, length,
                  StandardCharsets.ISO_8859_1), 1L)));
          return words.iterator();
        })
        .reduceByKey(Long::sum, partitions)
        .mapToPair(count -> new Tuple2<>(Words.text(count._1()),
            new LongWritable(count._2())))
        .saveAsNewAPIHadoopFile(output, Text.class, LongWritable.class,
            TextOutputFormat.class, context.hadoopConfiguration());
  }

  private static void grep(JavaSparkContext context, String input,
      String output, String pattern) {
    byte[] wanted = pattern.getBytes(StandardCharsets.ISO_8859_1);
    lines(context, input)
        .values()
        .filter(line -> Words.contains(line, wanted))
        .mapToPair(line -> new Tuple2<>(line, NullWritable.get()))
        .saveAsNewAPIHadoopFile(output, Text.class, NullWritable.class,
            TextOutputFormat.class, context.hadoopConfiguration());
  }

  private static void sort(JavaSparkContext context, String input,
      String output, int partitions) {
    Configuration conf = new Configuration(context.hadoopConfiguration());
    FixedLengthInputFormat.setRecordLength(conf, Records.RECORD_BYTES);
    context.newAPIHadoopFile(input, FixedLengthInputFormat.class,
            LongWritable.class, BytesWritable.class, conf)
        .values()
        .mapToPair(record -> {
          byte[] bytes = record.copyBytes();
          byte[] rest = java.util.Arrays.copyOfRange(
              bytes, Records.KEY_BYTES, Records.RECORD_BYTES);
          return new Tuple2<>(new Key(bytes), rest);
        })
        .sortByKey(true, partitions)
        .mapToPair(record -> new Tuple2<>(
            new BytesWritable(record._1().bytes()),
            new BytesWritable(record._2())))
        .saveAsNewAPIHadoopFile(output, BytesWritable.class,
            BytesWritable.class, Records.Output.class, conf);
  }

  private static void run(JavaSparkContext context, String[] args)
      throws Exception {
    int partitions = Integer.parseInt(args[3]);
    switch (args[0]) {
      case "wordcount":
        wordcount(context, args[1], args[2], partitions);
        break;
      case "grep":
        grep(context, args[1], args[2], args[5]);
        break;
      case "sort":
        sort(context, args[1], args[2], partitions);
        break;
      default:
        throw new IllegalArgumentException(args[0]);
    }
  }

  public static void main(String[] args) throws Exception {
    int repeats = Integer.parseInt(args[4]);
    SparkConf conf = new SparkConf().setAppName("bench " + args[0]);
    conf.registerKryoClasses(new Class<?>[] {Key.class, byte[].class});
    try (JavaSparkContext context = new JavaSparkContext(conf)) {
      Path output = new Path(args[2]);
      FileSystem files = output.getFileSystem(context.hadoopConfiguration());
      double seconds = 0;
      for (int i = 0; i < repeats; ++i) {
        files.delete(output, true);
        long began = System.nanoTime();
        run(context, args);
        seconds = (System.nanoTime() - began) / 1e9;
      }
      System.out.println("job_seconds " + seconds);
    }
  }
}
