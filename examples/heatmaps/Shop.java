import java.util.*;

/** A store of records in memory, of which some are used; each use makes short-lived objects. */
class Shop {
    static final int COUNT = 600_000;
    static final List<byte[]> records = new ArrayList<>(COUNT);
    static final Random random = new Random(1);
    static long sum;

    static void use(double from, double to, double seconds) {
        long end = System.nanoTime() + (long) (seconds * 1e9);
        while (System.nanoTime() < end) {
            for (int i = 0; i < 20_000; i++) {
                byte[] each = records.get((int) ((from + (to - from) * random.nextDouble()) * COUNT));
                sum += each[random.nextInt(each.length)];
                sum += new StringBuilder().append(sum % 1000).append(i).toString().length();
            }
            try { Thread.sleep(5); } catch (InterruptedException e) { return; }
        }
    }

    public static void main(String[] arguments) throws Exception {
        for (int i = 0; i < COUNT; i++) records.add(new byte[500]);
        System.gc();
        System.out.println("ready");
        System.out.flush();
        System.in.read();
        use(0.0, 0.1, 15);
        use(0.5, 0.55, 15);
        Thread.sleep(10_000);
        System.gc();
        Thread.sleep(5_000);
        use(0.0, 1.0, 15);
        System.out.println(sum);
    }
}
