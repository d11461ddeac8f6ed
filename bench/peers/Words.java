import java.nio.charset.StandardCharsets;
import org.apache.hadoop.io.Text;

/** Words and lines as bytes: text need not be UTF-8. */
final class Words {
  private Words() {}

  static boolean isSpace(byte b) {
    return b == ' ' || (b >= '\t' && b <= '\r');
  }

  interface Range {
    void take(byte[] bytes, int start, int length);
  }

  /** Calls {@code range} for each run of bytes that are not white space. */
  static void each(Text line, Range range) {
    byte[] bytes = line.getBytes();
    int end = line.getLength();
    int at = 0;
    while (true) {
      while (at < end && isSpace(bytes[at])) ++at;
      if (at == end) return;
      int start = at;
      while (at < end && !isSpace(bytes[at])) ++at;
      range.take(bytes, start, at - start);
    }
  }

  /** One character a byte; the JVM keeps such strings in one byte each. */
  static String latin1(Text text) {
    return new String(text.getBytes(), 0, text.getLength(),
        StandardCharsets.ISO_8859_1);
  }

  static Text text(String latin1) {
    return new Text(latin1.getBytes(StandardCharsets.ISO_8859_1));
  }

  static boolean contains(Text line, byte[] wanted) {
    byte[] bytes = line.getBytes();
    int last = line.getLength() - wanted.length;
    for (int at = 0; at <= last; ++at) {
      int same = 0;
      while (same < wanted.length && bytes[at + same] == wanted[same]) ++same;
      if (same == wanted.length) return true;
    }
    return false;
  }
}
